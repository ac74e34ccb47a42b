"""Hands in an empty file.

Source: grader.md E5, D10
Expected: nothing, and a finding.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")
SAYS = "ONNX"

# %% 01-Model/build
hand_in(b"")
