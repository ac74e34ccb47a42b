"""What a student does with a lab before it is graded: try it, and hand it in.

check     the notebooks run from the top, their visible tests, the model on public data
pack      one zip of what the grader reads, and a receipt for it

Both use the grader's own rooms. What they do not have are hidden tests and hidden data, so they
promise nothing.
"""
