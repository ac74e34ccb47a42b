"""Weights scored by what the loss, or a layer's output, says of them: first and second order."""
