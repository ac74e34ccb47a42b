"""Claims about sparsity over time. Tolerances of 1e-12 are float64's over a few operations."""

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reference.pruning.schedules import Schedule, compound, cubic, geometric, linear, one_shot

CURVES = [one_shot, linear, cubic, geometric]
every_curve = pytest.mark.parametrize("curve", CURVES)
SHARE = st.floats(0, 0.999)
FEW = st.integers(1, 30)


@every_curve
@given(SHARE, SHARE, FEW, st.integers(0, 20), FEW)
def test_both_ends_are_exact_and_between_them_sparsity_never_falls(
    curve, one, other, rounds, begin, every
):
    first, last = sorted((one, other))
    schedule = Schedule(last, rounds, curve, first, begin, every)
    values = [schedule.at(step) for step in range(schedule.end + 5)]
    assert values[:begin] == [first] * begin
    assert values[begin] == first
    assert values[schedule.end :] == [last] * 5
    assert values == sorted(values)


@every_curve
def test_a_round_lasts_every_steps(curve):
    schedule = Schedule(0.9, 4, curve, begin=3, every=5)
    at_rounds = [schedule.after_round(number) for number in range(5)]
    expected = [at_rounds[min(4, max(0, step - 3) // 5)] for step in range(30)]
    assert [schedule.at(step) for step in range(30)] == expected
    assert schedule.values() == tuple(at_rounds[1:])


@given(SHARE, SHARE, FEW, FEW, st.integers(0, 20), st.integers(0, 100))
def test_cubic_is_zhu_and_guptas_formula(one, other, rounds, every, begin, number):
    first, last = sorted((one, other))
    assume(number <= rounds)
    t = begin + number * every
    expected = last + (first - last) * (1 - (t - begin) / (rounds * every)) ** 3
    assert Schedule(last, rounds, cubic, first, begin, every).at(t) == pytest.approx(
        expected, abs=1e-12
    )


@given(st.floats(0.01, 0.6), FEW)
def test_geometric_rounds_remove_the_same_share_of_the_rest(share, rounds):
    values = (0.0, *Schedule(compound(share, rounds), rounds, geometric).values())
    for before, after in itertools.pairwise(values):
        assert (after - before) / (1 - before) == pytest.approx(share, rel=1e-6)


def test_a_fifth_of_the_rest_in_each_of_ten_rounds_leaves_a_tenth():
    assert 1 - compound(0.2, 10) == pytest.approx(0.107, abs=5e-4)  # Frankle & Carbin's 10.7 %


def test_one_shot_removes_everything_in_the_first_round():
    assert Schedule(0.9, 3, one_shot).values() == (0.9, 0.9, 0.9)


def test_cubic_is_ahead_of_linear_until_the_end():
    ahead = zip(Schedule(0.9, 10, cubic).values(), Schedule(0.9, 10, linear).values(), strict=True)
    assert all(one > other for one, other in list(ahead)[:-1])


@pytest.mark.parametrize("curve", [one_shot, linear, cubic])
def test_everything_may_go_but_not_in_equal_shares_of_the_rest(curve):
    assert Schedule(1.0, 3, curve).values()[-1] == 1
    with pytest.raises(ValueError, match="never reach sparsity 1"):
        Schedule(1.0, 3, geometric).values()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Schedule(0.2, 3, first=0.5), "rise within 0 and 1, got 0.5 to 0.2"),
        (lambda: Schedule(1.2, 3), "got 0.0 to 1.2"),
        (lambda: Schedule(0.5, 0), "rounds=0"),
        (lambda: Schedule(0.5, 1, every=0), "every=0"),
        (lambda: Schedule(0.5, 1, begin=-1), "begin=-1"),
        (lambda: Schedule(0.5, 2).after_round(3), "rounds 1 to 2, got 3"),
    ],
)
def test_what_has_no_meaning_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()
