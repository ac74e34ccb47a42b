"""Prunes nine tenths of the weights to zero and hands in dense FP32.

Source: grader.md D1
Expected: nothing: bytes are counted, not zeros.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
pruned = {}
for name, value in weights.items():
    edge = np.quantile(np.abs(value), 0.9)
    pruned[name] = np.where(np.abs(value) >= edge, value, 0).astype(np.float32)
hand_in(network(pruned).SerializeToString())
