"""Every technique of the course, in full: one file each, tensors in, records out."""
