"""A small graph that makes a tensor of many gigabytes when it runs.

Source: grader.md E5
Expected: nothing, and the grader lives.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
model = network(weights)
shape = numpy_helper.from_array(np.array([4096, 1, 1, 1, 1], np.int64), "grown")
model.graph.initializer.append(shape)
model.graph.node[-1].output[0] = "before"
model.graph.node.append(helper.make_node("Reshape", ["images", "flat_shape"], ["flat"]))
model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 1], np.int64), "flat_shape"))
model.graph.node.append(helper.make_node("Transpose", ["flat"], ["turned"], perm=[1, 0]))
model.graph.node.append(helper.make_node("MatMul", ["flat", "turned"], ["outer"]))
model.graph.node.append(helper.make_node("ReduceSum", ["outer"], ["total"], keepdims=0))
model.graph.node.append(helper.make_node("Add", ["before", "total"], ["logits"]))
hand_in(model.SerializeToString())
