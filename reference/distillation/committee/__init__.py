"""Several teachers: their answers are one tensor, whose first axis is the teacher."""
