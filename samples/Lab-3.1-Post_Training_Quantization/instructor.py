"""The instructor's own solution, handed in as a student would: it earns all points."""
