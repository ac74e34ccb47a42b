"""Finds the worker's pipe and writes frames of its own: answers before they are asked.

Source: KernelBot cheat-fd.py; grader.md A9
Expected: nothing for the exercise, and a finding; the forged frames are no grade.
"""

FAILS = ("test-mean",)
SAYS = "no answer"


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0


import json, os, struct

document = json.dumps({"id": 8, "value": 2.6666666666666665, "passed": True, "score": 100}).encode()
for fd in range(3, 64):
    try:
        os.write(fd, struct.pack(">QQ", len(document), 0) + document)
    except OSError:
        pass
