"""A graph of ten thousand nodes.

Source: grader.md E5
Expected: nothing, and a finding.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")
SAYS = "nodes"

# %% 01-Model/build
model = network(weights)
for number in range(10_000):
    model.graph.node.append(helper.make_node("Identity", ["x0"], [f"n{number}"]))
hand_in(model.SerializeToString())
