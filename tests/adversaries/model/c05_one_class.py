"""A network of a few bytes that answers one class for every image.

Source: grader.md C5, D7
Expected: nothing: small, and useless.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
tiny = {f"layers.{i}.weight": np.zeros((10, 784 if i == 0 else 10), np.float32) for i in range(3)}
tiny |= {f"layers.{i}.bias": np.zeros(10, np.float32) for i in range(3)}
hand_in(network(tiny).SerializeToString())
