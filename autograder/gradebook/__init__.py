"""nbgrader's gradebook: what we grade is shown in formgrader, what is scored there comes back.

    evidence, totals ── pages, scores ──> database, COURSE/autograded ──> formgrader, feedback
    decisions <──────── taken ─────────── scores and comments that a person gave there

The points are ours: nbgrader runs nothing. Hidden tests are in none of its notebooks, because its
feedback shows them whole.
"""
