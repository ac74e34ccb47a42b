"""Each answer is corrected by the mean of the batch: it depends on the examples beside it.

Source: parameter-golf #770, #886 (state across samples); grader.md C4
Expected: nothing: an example alone is answered otherwise.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
onnx.save(network(weights), "fp32.onnx")
labkit.export.int8_dynamic("fp32.onnx", "int8.onnx")
model = onnx.load("int8.onnx")
for node in model.graph.node:
    for place, name in enumerate(node.output):
        if name == "logits":
            node.output[place] = "before"
model.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "batch_axis"))
model.graph.node.append(helper.make_node("ReduceMean", ["before", "batch_axis"], ["shared"]))
model.graph.node.append(helper.make_node("Sub", ["before", "shared"], ["logits"]))
hand_in(model.SerializeToString())
