"""Asks a server for the answer.

Source: Parameter Golf, no-network rule; grader.md B17, D7
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-mean",)

# %% 01-Exercises/mean
import socket, urllib.request


def mean(values):
    for host in ("127.0.0.1", "169.254.169.254", "192.0.2.1"):
        try:
            with socket.create_connection((host, 80), 0.2) as link:
                return float(link.recv(100))
        except OSError:
            pass
    return 0.0
