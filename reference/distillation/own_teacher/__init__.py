"""Self-distillation: the teacher is the student, earlier, deeper, or on another example."""
