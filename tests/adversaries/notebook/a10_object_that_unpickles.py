"""Answers with an object whose unpickling runs code.

Source: otter `dill.load`; CVE-2025-32434; grader.md A10
Expected: nothing for the exercise: no object crosses, and nothing is unpickled.
"""

FAILS = ("test-mean",)

# %% 01-Exercises/mean
import os


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch /tmp/owned",))


def mean(values):
    return Bomb()
