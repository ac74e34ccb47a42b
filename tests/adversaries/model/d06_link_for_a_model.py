"""Makes the model a link to a file that it did not make.

Source: GHSA-cmw6-hcpp-c6jp; grader.md D6
Expected: nothing: what a link leads to in the sandbox is no model.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")
SAYS = "not an ONNX model"

# %% 01-Model/build
os.symlink("/etc/passwd", os.environ["LABKIT_OUT"] + "/model.onnx")
