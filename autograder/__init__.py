"""Source to release, and submission to grade. `records.py` explains the way of a submission."""

__version__ = "0.1.0"
