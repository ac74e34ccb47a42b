"""Prints, warns, logs, draws to stderr and changes the locale while being right.

Source: nbgrader utils: a warning on stderr cost a cell its points; grader.md E12
Expected: all points, no finding.
"""

SILENT = True

# %% 01-Exercises/shout
import locale, logging, sys, warnings

locale.setlocale(locale.LC_ALL, "C")
warnings.warn("careful")
logging.basicConfig(level=logging.DEBUG)


def shout(text):
    print("shouting", text)
    print("to stderr", file=sys.stderr)
    logging.warning("shout %s", text)
    warnings.warn("loud")
    return text.upper() + "!"


print("x" * 5000)
