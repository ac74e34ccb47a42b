"""Carries a small path and a dense one, and an If that chooses between them.

Source: KernelGuard SILENT_FALLBACK; grader.md C10, B15, B16
Expected: nothing: a graph may not hold graphs.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
inner = helper.make_graph(
    [helper.make_node("Identity", ["x0"], ["a"])],
    "inner",
    [],
    [helper.make_tensor_value_info("a", TensorProto.FLOAT, None)],
)
model = network(weights)
model.graph.initializer.append(numpy_helper.from_array(np.array(True), "which"))
model.graph.node.append(
    helper.make_node("If", ["which"], ["b"], then_branch=inner, else_branch=inner)
)
hand_in(model.SerializeToString())
