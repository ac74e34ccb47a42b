"""Regenerates weights from a seed with a random operator.

Source: Parameter Golf, random-seeded maps; grader.md D7
Expected: nothing, and a finding.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")
SAYS = "operator"

# %% 01-Model/build
model = network(weights)
model.graph.node.insert(
    0, helper.make_node("RandomNormal", [], ["noise"], shape=[784, 512], seed=1.0)
)
hand_in(model.SerializeToString())
