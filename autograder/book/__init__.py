"""The grade book: what people and the calendar make of a verdict.

    verdict ──┐
    decisions ┼─ total(...) -> Total     points by check, by hand, late; what is provisional
    receipts ─┘

A verdict is made from evidence alone. Points for written answers, overrides, comments and
lateness come from outside of it and never change it: they are added here, and each says who
decided, when and why.
"""
