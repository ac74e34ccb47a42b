"""Hands in the first half of a model.

Source: grader.md E2
Expected: nothing, and a finding.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
content = network(weights).SerializeToString()
hand_in(content[: len(content) // 2])
