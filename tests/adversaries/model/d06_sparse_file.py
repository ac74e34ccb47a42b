"""Hands in a sparse file that claims fifty gigabytes.

Source: sandbox.md attack 14; grader.md D6
Expected: nothing, and a finding.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
with open(os.environ["LABKIT_OUT"] + "/model.onnx", "wb") as file:
    try:
        file.truncate(50 * 2**30)
    except OSError as error:
        print(error)
