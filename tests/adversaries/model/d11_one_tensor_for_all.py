"""Uses one layer's tensor for two layers, which counts it once.

Source: grader.md D11
Expected: nothing: accuracy is measured on what is left.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
model = network(weights)
square = np.zeros((512, 784), np.float32)
square[:, :512] = weights["layers.1.weight"]
del model.graph.initializer[0]
model.graph.initializer.insert(0, numpy_helper.from_array(square, "layers.0.weight"))
hand_in(model.SerializeToString())
