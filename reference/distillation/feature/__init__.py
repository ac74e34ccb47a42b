"""What the layers of a teacher say, and losses that a student's layers learn it by."""
