"""Pareto fronts: what nothing else beats everywhere, and how much a front covers.

    y dominates z     y_i <= z_i for all i, and < for one                 every objective is a cost
    hypervolume       the volume of points below the reference r that some y of the front dominates
    two objectives    sum of the steps (z_{k+1} - z_k) (r_2 - y_k) under the staircase
    more              slices along the last objective, each a hypervolume of one dimension less

Hypervolumes compare only where r is the same: take it from all fronts together.

Source    Pareto 1906; Zitzler and Thiele, IEEE Transactions on Evolutionary Computation 1999
          (hypervolume); While et al., "A Faster Algorithm for Calculating Hypervolume", 2006
          (slicing objectives); Ishibuchi et al., "How to Specify a Reference Point in Hypervolume
          Calculation", Evolutionary Computation 2018.
Left out  Faster algorithms for many objectives (WFG): slices take exponential time in those.
Read      By itself.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
Point = tuple[float, ...]  # one number for each objective; lower is better


def non_dominated(found: Sequence[T], objectives: Callable[[T], Point]) -> list[T]:
    """By rising objectives, the first one before the others; of equals, the first.

    Raises:
        ValueError: an objective is nan, or their number differs.
    """
    _dimensions([objectives(each) for each in found])
    front: list[T] = []
    points: list[Point] = []
    for each in sorted(found, key=objectives):
        point = objectives(each)
        if not any(_no_worse(other, point) for other in points):
            front.append(each)
            points.append(point)
    return front


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """What the points cover below the reference; those not below it cover nothing.

    Raises:
        ValueError: numbers of objectives that differ, or one that is not finite.
    """
    _dimensions([*points, reference])
    if not all(math.isfinite(each) for point in (*points, reference) for each in point):
        raise ValueError("a hypervolume needs finite points and a finite reference")
    inside = [each for each in points if _below(each, reference)]
    return _volume(non_dominated(inside, lambda point: point), reference)


def reference_point(points: Sequence[Point], margin: float = 0.1) -> Point:
    """The worst of each objective on the front of all points, and a share of its range beyond, so
    that the ends of the front count too. An objective without range gets that share of itself.

    Raises:
        ValueError: no points, or a negative margin.
    """
    if not points or not margin >= 0:
        raise ValueError(
            f"{len(points)} points and a margin of {margin}: need points, and 0 or more"
        )
    columns = list(zip(*non_dominated(points, lambda point: point), strict=True))
    return tuple(
        max(each) + margin * ((max(each) - min(each)) or abs(max(each)) or 1.0) for each in columns
    )


def _volume(front: Sequence[Point], reference: Point) -> float:
    if not front:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(point[0] for point in front)
    if len(reference) == 2:
        edges = [*(point[0] for point in front), reference[0]]
        steps = zip(itertools.pairwise(edges), front, strict=True)
        return sum((right - left) * (reference[1] - point[1]) for (left, right), point in steps)
    layers = sorted(front, key=lambda point: point[-1])
    heights = [*(point[-1] for point in layers), reference[-1]]
    total = 0.0
    for count, (low, high) in enumerate(itertools.pairwise(heights), start=1):
        below = non_dominated([point[:-1] for point in layers[:count]], lambda point: point)
        total += (high - low) * _volume(below, reference[:-1])
    return total


def _no_worse(one: Point, other: Point) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))


def _below(one: Point, other: Point) -> bool:
    return all(a < b for a, b in zip(one, other, strict=True))


def _dimensions(points: Sequence[Point]) -> None:
    if len({len(point) for point in points}) > 1 or any(not point for point in points):
        raise ValueError(
            f"points need as many objectives each, got {sorted(set(map(len, points)))}"
        )
    if any(math.isnan(each) for point in points for each in point):
        raise ValueError("an objective is nan, which has no order")
