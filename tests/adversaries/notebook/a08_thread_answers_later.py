"""Leaves threads, children and exit handlers behind that write answers to every descriptor.

Source: pygpubench thread_fd, pull request 15; grader.md A8
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-mean",)


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0


import atexit, os, threading, time

frame = b'{"value": 2.6666666666666665}'


def flood():
    time.sleep(0.3)
    for fd in range(0, 3):
        try:
            os.write(fd, frame)
        except OSError:
            pass


atexit.register(flood)
threading.Thread(target=flood, daemon=True).start()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        flood()
        time.sleep(30)
    os._exit(0)
