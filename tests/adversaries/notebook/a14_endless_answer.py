"""Answers with a list that is deeper than any parser likes, and holds itself.

Source: grader.md E5, against the grader's own memory
Expected: nothing for the exercise, and the grader lives.
"""

FAILS = ("test-mean", "test-ranks")


# %% 01-Exercises/mean
def mean(values):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return deep


# %% 01-Exercises/ranks
def ranks(values):
    answer = []
    answer.append(answer)
    return answer
