"""Leaves a process behind that replaces the model after the notebook has ended.

Source: pygpubench thread_fd; grader.md A8
Expected: nothing: what lay there when the notebook ended is FP32.
"""

WORTHLESS = ("compression_ratio", "accuracy_kept")

# %% 01-Model/build
import time

hand_in(network(weights).SerializeToString())
if os.fork() == 0:
    time.sleep(60)
    hand_in(b"small")
    os._exit(0)
