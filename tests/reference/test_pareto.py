"""Claims about fronts and the volume under them. 1e-9 is float64's over few products."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.pareto import hypervolume, non_dominated, reference_point


def same(point):
    return point


@st.composite
def whole_points(draw, most: int = 8):
    """Points on a grid from 0 to 5, so that ties and duplicates are common."""
    objectives = draw(st.integers(1, 4))
    point = st.tuples(*[st.integers(0, 5).map(float)] * objectives)
    return draw(st.lists(point, min_size=1, max_size=most))


def dominates(one, other):
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def counted(points, side=5):
    """The volume below (5, ..., 5) by counting unit cells that some point dominates."""
    cells = itertools.product(range(side), repeat=len(points[0]))
    return sum(
        any(all(a <= c for a, c in zip(p, cell, strict=True)) for p in points) for cell in cells
    )


@given(whole_points())
def test_the_front_is_what_nothing_dominates_each_point_once(points):
    front = non_dominated(points, same)
    assert len(front) == len(set(front))
    assert set(front) == {p for p in points if not any(dominates(q, p) for q in points)}
    assert front == sorted(front)


def test_of_equals_the_first_is_kept():
    found = non_dominated([("b", 1.0), ("a", 1.0), ("c", 2.0)], lambda each: (each[1],))
    assert found == [("b", 1.0)]


@given(whole_points(most=6))
def test_the_volume_is_the_number_of_dominated_cells(points):
    assert hypervolume(points, (5.0,) * len(points[0])) == counted(points)


@given(whole_points())
def test_the_volume_is_that_of_inclusion_and_exclusion(points):
    reference = (5.0,) * len(points[0])
    points = [p for p in points if all(each < 5 for each in p)][:5]
    total = 0.0
    for size in range(1, len(points) + 1):
        for some in itertools.combinations(points, size):
            corner = [max(column) for column in zip(*some, strict=True)]
            total -= (-1) ** size * math.prod(r - c for r, c in zip(reference, corner, strict=True))
    assert hypervolume(points, reference) == pytest.approx(total)


@given(whole_points(), st.data())
def test_another_point_never_takes_volume_away_and_a_dominated_one_adds_none(points, data):
    reference = (5.0,) * len(points[0])
    point = data.draw(st.tuples(*[st.floats(0, 6)] * len(points[0])))
    before, after = hypervolume(points, reference), hypervolume([*points, point], reference)
    assert after >= before - 1e-9
    if any(dominates(other, point) for other in points):
        assert after == pytest.approx(before, abs=1e-9)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_the_volume_is_the_share_of_random_points_below_it(objectives):
    """Monte Carlo with 100 000 points: four standard errors are at most 0.0064."""
    numbers = torch.Generator().manual_seed(objectives)
    points = torch.rand(12, objectives, generator=numbers, dtype=torch.float64)
    thrown = torch.rand(100_000, 1, objectives, generator=numbers, dtype=torch.float64)
    share = (points <= thrown).all(2).any(1).double().mean().item()
    found = hypervolume([tuple(each) for each in points.tolist()], (1.0,) * objectives)
    assert found == pytest.approx(share, abs=0.0064)


@given(whole_points(), st.randoms())
def test_neither_the_order_of_points_nor_of_objectives_matters(points, random):
    reference = tuple(5.0 + k for k in range(len(points[0])))
    found = hypervolume(points, reference)
    order = list(range(len(reference)))
    random.shuffle(order)
    random.shuffle(points)
    turned = [tuple(p[k] for k in order) for p in points]
    assert hypervolume(turned, tuple(reference[k] for k in order)) == pytest.approx(found)


def test_points_that_are_not_below_the_reference_cover_nothing():
    assert hypervolume([(1.0, 5.0), (5.0, 1.0), (6.0, 6.0)], (5.0, 5.0)) == 0
    assert hypervolume([], (5.0, 5.0)) == 0


def test_the_reference_lies_beyond_the_front_and_ignores_what_is_dominated():
    front = [(0.0, 10.0), (4.0, 0.0)]
    assert reference_point([*front, (9.0, 90.0)]) == pytest.approx((4.4, 11.0))
    assert reference_point([(2.0, 0.0)]) == pytest.approx((2.2, 0.1))
    assert all(hypervolume([p], reference_point(front)) > 0 for p in front)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: non_dominated([(1.0,), (1.0, 2.0)], same), r"as many objectives each, got \[1, 2"),
        (lambda: non_dominated([()], same), r"got \[0\]"),
        (lambda: non_dominated([(math.nan, 1.0)], same), "an objective is nan"),
        (lambda: hypervolume([(1.0, 2.0)], (3.0,)), "as many objectives"),
        (lambda: hypervolume([(-math.inf, 2.0)], (3.0, 3.0)), "finite points"),
        (lambda: hypervolume([(1.0,)], (math.inf,)), "a finite reference"),
        (lambda: reference_point([]), "0 points"),
        (lambda: reference_point([(1.0,)], -0.1), "a margin of -0.1"),
    ],
)
def test_what_has_no_meaning_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
