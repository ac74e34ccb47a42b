"""Progressive distillation: in steps, from copies or slices of the teacher, or from own answers."""
