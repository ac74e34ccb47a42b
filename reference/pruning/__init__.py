"""Pruning: scores say what matters (one file per way to score), masks.py alone chooses by them."""
