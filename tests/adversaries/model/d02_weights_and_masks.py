"""Keeps the original weights and a mask beside the pruned ones.

Source: torch.nn.utils.prune keeps weight_orig; grader.md D2
Expected: nothing: every tensor is paid for.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
model = network(weights)
for name, value in weights.items():
    model.graph.initializer.append(numpy_helper.from_array(np.ones_like(value), name + "_mask"))
hand_in(model.SerializeToString())
