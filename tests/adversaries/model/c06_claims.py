"""Hands in the FP32 network with files that claim a ratio of 100 and an accuracy of 1.

Source: mugrade; CS336 README; grader.md C6
Expected: nothing: what is claimed is not read.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
import json

hand_in(network(weights).SerializeToString())
claim = {"compression_ratio": 100, "accuracy": 1.0, "speedup": 50, "size_bytes": 1}
for name in ("manifest.json", "results.json", "model.json", "evidence.json"):
    with open(os.environ["LABKIT_OUT"] + "/" + name, "w") as file:
        json.dump(claim, file)
print(claim)
