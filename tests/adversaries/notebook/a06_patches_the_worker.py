"""Patches the grader's own modules inside its process: every answer is encoded as what it wishes.

Source: grader.md A6, against this design
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0


import sys

for name, module in list(sys.modules.items()):
    if name.startswith("autograder"):
        for attribute in ("encode", "write_frame", "answer", "call", "check"):
            if hasattr(module, attribute):
                original = getattr(module, attribute)

                def passed(*args, _original=original, **kwargs):
                    try:
                        return _original(*args, **kwargs)
                    finally:
                        sys.passed = True

                setattr(module, attribute, passed)
