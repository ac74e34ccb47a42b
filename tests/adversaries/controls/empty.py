"""The released notebook, untouched.

Source: control
Expected: nothing.
"""

FAILS = ("test-scale", "test-mean", "test-shout", "test-ranks")

# base: release
