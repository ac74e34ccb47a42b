"""Hands in a pickle that runs code when it is loaded.

Source: CVE-2025-32434, CVE-2026-24747; grader.md E1
Expected: nothing, and a finding; nothing is unpickled.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")
SAYS = "not an ONNX model"

# %% 01-Model/build
import pickle


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch /tmp/owned",))


hand_in(pickle.dumps(Bomb()))
