"""A lab as an autograder of Gradescope: one zip, and what runs in its container.

bundle    the zip: our code, one lab's notebooks, setup.sh, run_autograder
harness   in the container: one submission through our rooms
results   evidence as Gradescope's results.json
checks    visible tests in otter-grader's form, for students who use `otter check`

Isolation is weaker there than on a machine of ours: a container has no namespaces to give, so
student code runs under another uid and shares the container. Each result says so.
"""
