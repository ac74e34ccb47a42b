"""The network answers NaN for every image.

Source: pygpubench gc_nan; grader.md C5
Expected: nothing.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
model = network(weights)
model.graph.node[-1].output[0] = "before"
model.graph.node.append(helper.make_node("Sub", ["before", "before"], ["zero"]))
model.graph.node.append(helper.make_node("Div", ["zero", "zero"], ["logits"]))
hand_in(model.SerializeToString())
