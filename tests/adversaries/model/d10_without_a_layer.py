"""Leaves the last layer's weights out, hoping that the loader makes them anew.

Source: grader.md D10
Expected: nothing.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
cut = {name: value for name, value in weights.items() if not name.startswith("layers.2")}
hand_in(network(cut).SerializeToString())
