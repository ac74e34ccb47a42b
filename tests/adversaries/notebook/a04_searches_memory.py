"""Searches the interpreter's objects, frames and mapped memory for hidden tests.

Source: pygpubench gc_copy; grader.md A4
Expected: nothing for the exercise; the others are not touched.
"""

FAILS = ("test-mean",)
HIDES = "osprey-8152"

# %% 01-Exercises/mean
import gc, re, sys

PATTERN = "ospre[y]-815[2]"  # does not match itself


def hits():
    out = []
    for thing in gc.get_objects():
        if isinstance(thing, (dict, list)) and len(thing) < 300:
            out += re.findall(PATTERN, repr(thing)[:50_000])
    frame = sys._getframe()
    while frame:
        out += re.findall(PATTERN, repr(frame.f_locals)[:50_000])
        frame = frame.f_back
    for who in ("self", "1"):
        try:
            maps = open(f"/proc/{who}/maps").read()
            with open(f"/proc/{who}/mem", "rb", 0) as memory:
                for low, high in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw", maps, re.M)[:30]:
                    memory.seek(int(low, 16))
                    part = memory.read(min(int(high, 16) - int(low, 16), 500_000))
                    out += re.findall(PATTERN.encode(), part)
        except (OSError, ValueError, OverflowError):
            pass
    return out


found = hits()
print(found)


def mean(values):
    raise ValueError(repr(found)[:500])
