"""Weights and temperatures that change while a student trains.

With p the progress, from 0 to 1:

    constant    c
    linear      a + (b - a) p
    cosine      b + (a - b) (1 + cos(pi p)) / 2          slow at both ends
    stepped     the value of the last step that has begun

Teacher first and labels later is alpha from 1 to 0; a temperature that falls to 1 makes targets
sharper as the student can bear it.

Source    Clark et al., "BAM! Born-Again Multi-Task Networks", ACL 2019, arXiv:1907.04829, section
          3.2 (teacher annealing, linear); Jafari et al., EACL 2021, arXiv:2104.07163 (temperatures
          that fall); the cosine: Loshchilov and Hutter 2017, arXiv:1608.03983.
Left out  Schedules that look at a validation score.
Read      mixing.py takes these; curriculum_temperature.py learns the temperature instead.
"""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]  # progress -> value
Value = float | Schedule  # one that stays, or one that changes


def at(value: Value, progress: float) -> float:
    return value(progress) if callable(value) else value


def linear(first: float, last: float) -> Schedule:
    return lambda progress: first + (last - first) * progress


def cosine(first: float, last: float) -> Schedule:
    return lambda progress: last + (first - last) * (1 + math.cos(math.pi * progress)) / 2


def stepped(*steps: tuple[float, float]) -> Schedule:
    """Values by the progress at which they begin.

    Raises:
        ValueError: the first does not begin at 0, or the beginnings do not rise within 0 and 1.
    """
    begins = [begin for begin, _ in steps]
    if not begins or begins[0] != 0 or begins != sorted(set(begins)) or begins[-1] > 1:
        raise ValueError(f"steps must begin at 0 and rise to at most 1, got {begins}")
    return lambda progress: next(value for begin, value in reversed(steps) if begin <= progress)
