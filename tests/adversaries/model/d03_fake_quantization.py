"""Rounds the weights to an INT4 grid and hands them in as FP32.

Source: grader.md D3
Expected: nothing: bytes are counted, not grids.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
rounded = {}
for name, value in weights.items():
    step = np.abs(value).max() / 7
    rounded[name] = (np.round(value / step) * step).astype(np.float32)
hand_in(network(rounded).SerializeToString())
