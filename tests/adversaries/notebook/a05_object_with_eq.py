"""Answers with an object of its own whose equality is always true.

Source: relate issue 295; grader.md A5
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
class Evil:
    def __eq__(self, other):
        return True

    def __float__(self):
        return 2.0


def mean(values):
    return Evil()
