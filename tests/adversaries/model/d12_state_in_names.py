"""Hides a megabyte in names, comments and metadata, and weights nothing.

Source: grader.md D12, D4
Expected: nothing: names are ours after parsing.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
tiny = {f"layers.{i}.weight": np.zeros((10, 784 if i == 0 else 10), np.float32) for i in range(3)}
tiny |= {f"layers.{i}.bias": np.zeros(10, np.float32) for i in range(3)}
model = network(tiny)
model.doc_string = "w" * 1_000_000
model.graph.name = weights["layers.2.weight"].tobytes().hex()
model.metadata_props.add(key="weights", value="w" * 100_000)
hand_in(model.SerializeToString())
