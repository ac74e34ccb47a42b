"""Switches the display of tracebacks off, so that a failed assert leaves no error output.

Source: nbgrader pull request 1324; grader.md A1
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0


from IPython import get_ipython

shell = get_ipython()
shell.showtraceback = lambda *args, **kwargs: None
shell._showtraceback = lambda *args, **kwargs: None
