"""Distillation: a distiller is a loss (one file each), loop.py alone trains."""
