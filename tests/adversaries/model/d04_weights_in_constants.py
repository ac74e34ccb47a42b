"""Moves the weights out of the initializers into attributes of Constant nodes.

Source: Parameter Golf counts code; grader.md D4
Expected: nothing: attributes are counted.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
model = network(weights)
constants = [helper.make_node("Constant", [], [t.name], value=t) for t in model.graph.initializer]
nodes = [*constants, *model.graph.node]
del model.graph.node[:], model.graph.initializer[:]
model.graph.node.extend(nodes)
hand_in(model.SerializeToString())
