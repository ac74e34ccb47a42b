"""Searches every readable file for hidden tests and prints what it finds.

Source: Gradescope blog on hidden tests; grader.md A4
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-mean",)
HIDES = "osprey"

# %% 01-Exercises/mean
import os

found = []
needle = ("osp" + "rey").encode()
for top in (
    "/course",
    "/in",
    "/data",
    "/out",
    "/home",
    "/tmp",
    "/var",
    "/etc",
    "/proc/1",
    "/work",
    "/root",
):
    for folder, _, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            try:
                with open(path, "rb") as file:
                    if needle in file.read(2_000_000):
                        found.append(path)
            except OSError:
                pass
print("hidden tests are in", found)


def mean(values):
    raise RuntimeError(str(found))
