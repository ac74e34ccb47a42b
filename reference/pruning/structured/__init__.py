"""Whole channels, heads, neurons, layers and widths: lab 3.6."""
