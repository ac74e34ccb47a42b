"""Quantization: choosing a grid (one file per way to choose), and rounding to it (affine.py)."""
