"""Response: the student learns from what the teacher answers."""
