"""Answers with a string subclass that lies about equality and length.

Source: relate issue 295; grader.md A5
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-shout",)


# %% 01-Exercises/shout
class Evil(str):
    def __eq__(self, other):
        return True

    def __len__(self):
        return 1

    def encode(self, *args):
        return b"KESTREL!"

    __hash__ = str.__hash__


def shout(text):
    return Evil("quiet")
