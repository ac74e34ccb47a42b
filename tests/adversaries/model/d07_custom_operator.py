"""Uses an operator of its own domain that would bring weights along.

Source: grader.md D7, D8
Expected: nothing, and a finding.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")
SAYS = "operator"

# %% 01-Model/build
model = network(weights)
model.graph.node[1].domain = "student.example"
model.opset_import.append(helper.make_opsetid("student.example", 1))
hand_in(model.SerializeToString())
