"""A graph of a few bytes whose tensors would take a terabyte.

Source: sandbox.md attacks 15 and 17; grader.md E5
Expected: nothing, and the grader lives.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
tiny = {f"layers.{i}.weight": np.zeros((10, 784 if i == 0 else 10), np.float32) for i in range(3)}
tiny |= {f"layers.{i}.bias": np.zeros(10, np.float32) for i in range(3)}
model = network(tiny)
model.graph.initializer[0].dims[:] = [2**40, 784]
hand_in(model.SerializeToString())
