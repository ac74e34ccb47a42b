"""Search: which network of a space is the best that a budget allows."""
