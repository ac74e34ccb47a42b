"""Fills every folder that it can write to.

Source: grader.md E5; sandbox.md attack 6
Expected: nothing for the exercise; the others are graded.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0


for folder in ("/tmp", "/out", "/dev/shm", "."):
    try:
        with open(folder + "/full", "wb") as file:
            for _ in range(2000):
                file.write(bytes(1024 * 1024))
    except OSError as error:
        print(folder, error)
