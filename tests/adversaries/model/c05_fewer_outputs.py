"""The network answers nine logits, so that one class is never asked for.

Source: MLPerf length bound; grader.md C5
Expected: nothing.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
cut = dict(weights)
cut["layers.2.weight"], cut["layers.2.bias"] = (
    weights["layers.2.weight"][:9],
    weights["layers.2.bias"][:9],
)
hand_in(network(cut).SerializeToString())
