"""Claims about latency tables, on machines that are made up. 1e-9 is float64's over few sums."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.pruning.search.latency import (
    Grid,
    LatencyTable,
    Whole,
    additivity,
    corrected,
    measured_table,
)
from reference.pruning.search.space import Candidate, Choice, Constraint, Space

WIDTHS = (8, 16, 32, 64)
LAYERS = {"stem": (WIDTHS,), "middle": (WIDTHS, WIDTHS), "head": (WIDTHS,)}
SIZE = st.integers(8, 64)


def bilinear(name: str, point: tuple[int, ...]) -> float:
    """A layer takes a start and a time for each product of its sizes."""
    return 5e-6 + 1e-8 * math.prod(point)


def additive(network) -> float:
    return sum(bilinear(name, point) for name, point in network.items())


def sharing(network) -> float:
    """Each call costs something that no layer has, and layers run a tenth faster together."""
    return 4e-5 + 0.9 * additive(network)


def network(a: int, b: int) -> dict:
    return {"stem": (a,), "middle": (a, b), "head": (b,)}


TABLE = measured_table(LAYERS, bilinear)
SOME = [network(8, 8), network(64, 8), network(8, 64), network(32, 32), network(64, 64)]
OTHERS = [network(16, 40), network(50, 20), network(10, 60)]


@given(SIZE, SIZE)
def test_sums_are_exact_on_an_additive_machine_between_measurements_too(a, b):
    """Bilinear times have no interpolation error."""
    here = network(a, b)
    assert TABLE.predicted(here) == pytest.approx(additive(here), rel=1e-9)


def test_additive_machines_have_no_additivity_error():
    error = additivity(TABLE, [Whole(each, additive(each)) for each in SOME])
    assert error.worst < 1e-9


def test_the_error_of_a_machine_that_is_not_additive_is_told():
    wholes = [Whole(each, sharing(each)) for each in SOME]
    error = additivity(TABLE, wholes)
    expected = [additive(each) / sharing(each) - 1 for each in SOME]
    assert error.errors == pytest.approx(tuple(expected), rel=1e-9)
    assert error.worst == pytest.approx(max(map(abs, expected)))
    assert error.mean_absolute == pytest.approx(sum(map(abs, expected)) / 5)
    assert error.bias == pytest.approx(sum(expected) / 5)


def test_a_correction_learns_what_layers_share_and_holds_for_other_networks():
    better = corrected(TABLE, [Whole(each, sharing(each)) for each in SOME])
    assert (better.factor, better.overhead) == pytest.approx((0.9, 4e-5), rel=1e-6)
    wholes = [Whole(each, sharing(each)) for each in OTHERS]
    assert additivity(better, wholes).worst < 1e-6
    assert additivity(TABLE, wholes).worst > 0.1


def test_a_second_correction_starts_from_the_layers_again():
    once = corrected(TABLE, [Whole(each, sharing(each)) for each in SOME])
    twice = corrected(once, [Whole(each, sharing(each)) for each in SOME])
    assert (twice.factor, twice.overhead) == pytest.approx((once.factor, once.overhead))


def test_measured_sizes_are_looked_up_as_they_are():
    times = iter(range(1, 100))
    table = measured_table({"a": ((2, 4), (1, 3, 5))}, lambda name, point: float(next(times)))
    found = [table.layers["a"].at((a, b)) for a in (2, 4) for b in (1, 3, 5)]
    assert found == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert table.layers["a"].at((3, 4)) == (2 + 3 + 5 + 6) / 4


def test_every_combination_is_measured_once():
    asked = []

    def measure(name, point):
        asked.append((name, point))
        return 1.0

    measured_table(LAYERS, measure)
    assert len(asked) == len(set(asked)) == 4 + 16 + 4


def test_a_layer_that_is_absent_costs_nothing():
    assert TABLE.predicted({"stem": (8,)}) == pytest.approx(bilinear("stem", (8,)))


def test_a_table_is_a_constraint_of_a_space():
    limit = Constraint("seconds", lambda c: TABLE.predicted(network(c["a"], c["b"])), 3e-5)
    space = Space((Choice("a", WIDTHS), Choice("b", WIDTHS)), (limit,))
    found = list(space.fitting())
    assert 1 < len(found) < 16
    assert all(additive(network(each["a"], each["b"])) <= 3e-5 * (1 + 1e-9) for each in found)
    assert Candidate({"a": 64, "b": 64}) not in found


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: TABLE.predicted({"tail": (8,)}), "'tail' was not measured; known"),
        (lambda: TABLE.predicted({"stem": (65,)}), "size 65 is outside .* 8 to 64"),
        (lambda: TABLE.predicted({"stem": (7,)}), "size 7 is outside"),
        (lambda: TABLE.predicted({"stem": (8, 8)}), "2 numbers; expected 1"),
        (lambda: measured_table({}, bilinear), "at least one layer"),
        (lambda: measured_table({"a": ((8, 4),)}, bilinear), "must ascend"),
        (lambda: measured_table({"a": ((4, 4),)}, bilinear), "must ascend"),
        (lambda: measured_table({"a": ((),)}, bilinear), "one measurement for each"),
        (lambda: measured_table({"a": ((4,),)}, lambda n, p: 0.0), "'a' must take a time above 0"),
        (lambda: measured_table({"a": ((4,),)}, lambda n, p: math.nan), "got nan"),
        (lambda: Grid(((1, 2),), torch.ones(3)), "one measurement for each combination"),
        (lambda: additivity(TABLE, []), "got 0 in all"),
        (lambda: additivity(TABLE, [Whole(SOME[0], 0.0)]), "times above 0"),
        (lambda: corrected(TABLE, [Whole(SOME[0], 1.0)]), "two different sums"),
        (
            lambda: corrected(TABLE, [Whole(SOME[0], 2.0), Whole(SOME[4], 1.0)]),
            "fall as sums rise",
        ),
        (lambda: LatencyTable({}).predicted({"a": (1,)}), "'a' was not measured"),
    ],
)
def test_what_has_no_meaning_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
