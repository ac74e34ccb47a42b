"""Answers with a list subclass whose items depend on who asks.

Source: relate issue 295; grader.md A5
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-ranks",)


# %% 01-Exercises/ranks
class Evil(list):
    def __eq__(self, other):
        return True

    def __iter__(self):
        return iter([0])

    def __len__(self):
        return 4


def ranks(values):
    return Evil([0, 0, 0, 0])
