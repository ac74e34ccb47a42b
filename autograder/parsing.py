"""Python text as a syntax tree, one thread at a time.

CPython 3.11 counts the depth of a tree that it builds in a place that all threads share: two that
parse at the same time now and then end in a SystemError. Notebooks are graded in threads.
"""

import ast
import threading

_ONE_AT_A_TIME = threading.Lock()


def module(text: str) -> ast.Module:
    """Raises SyntaxError or ValueError, as `ast.parse` does."""
    with _ONE_AT_A_TIME:
        return ast.parse(text)


def expression(text: str) -> ast.expr:
    """Raises SyntaxError or ValueError, as `ast.parse` does."""
    with _ONE_AT_A_TIME:
        return ast.parse(text, mode="eval").body
