"""Ignores every signal and never returns, with daemons of its own.

Source: sandbox.md attacks 18 and 19
Expected: nothing for the exercise, and a finding; the others are graded.
"""

FAILS = ("test-mean",)
SAYS = "time limit"

# %% 01-Exercises/mean
import os, signal, time

for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
time.sleep(600)
