"""Speed: statistics and schedule on simulated machines. No clock is read here."""

import math
from dataclasses import replace

import noise
import numpy as np
import pytest
from scipy import stats

from autograder import latency, roofline
from autograder.lab import Threshold
from autograder.latency import SCHEDULE, Block, certificate, speedup
from autograder.operations import Product
from autograder.records import Interval, Measurement, Outcome
from autograder.schedule import NoMoreBlocks, Timing, collect
from autograder.verdict import _check
from labkit.timing import Pair

THRESHOLD = Threshold("speedup", full=2.0, none=1.0, unit="x", points=10, basis="for tests")
TRIALS = 1000
# Of a thousand, one in a hundred false passes are ten; above 20 there are as many by chance once
# in a thousand times (binomial).
MOST_FALSE_PASSES = int(stats.binom.isf(1e-3, TRIALS, 0.01))


def _blocks(ratio: float, number: int, seed: int = 0, **noise_: float) -> list[Block]:
    machine = noise.Machine(ratio, np.random.default_rng(seed), **noise_)
    return [machine.block(n) for n in range(number)]


def _collected(machine: noise.Machine) -> Timing:
    return collect(machine.block, lambda i: THRESHOLD.resolves(i.low, i.high))


def _outcome(timing: Timing) -> Outcome:
    if len(timing.usable) < SCHEDULE[0]:
        return Outcome.NOT_GRADED
    return _check(THRESHOLD, Measurement("speedup", speedup(timing.usable))).outcome


@pytest.mark.parametrize("model", noise.MODELS)
def test_at_the_threshold_one_in_a_hundred_passes_at_most(model: str) -> None:
    random = np.random.default_rng(1)
    passed = 0
    for _ in range(TRIALS):
        machine = noise.Machine(THRESHOLD.full, random, disturb=noise.MODELS[model])
        passed += _outcome(_collected(machine)) is Outcome.PASSED
    assert passed <= MOST_FALSE_PASSES


@pytest.mark.parametrize("model", noise.MODELS)
def test_a_tenth_above_the_threshold_nineteen_of_twenty_pass(model: str) -> None:
    random = np.random.default_rng(2)
    outcomes = []
    for _ in range(TRIALS // 5):
        machine = noise.Machine(1.1 * THRESHOLD.full, random, disturb=noise.MODELS[model])
        outcomes.append(_outcome(_collected(machine)))
    assert outcomes.count(Outcome.PASSED) >= 0.95 * len(outcomes)


@pytest.mark.parametrize("model", noise.MODELS)
def test_an_unmodified_model_earns_nothing_by_luck(model: str) -> None:
    random, earned = np.random.default_rng(3), 0
    for _ in range(TRIALS):
        machine = noise.Machine(THRESHOLD.none, random, disturb=noise.MODELS[model])
        earned += _outcome(_collected(machine)) in (Outcome.PASSED, Outcome.PARTIAL)
    assert earned <= MOST_FALSE_PASSES


def test_the_looks_together_pass_wrongly_less_than_once_in_a_hundred() -> None:
    """Of a fair coin per block: the chance that fewer than `rank` of them are below the truth."""
    chances = [stats.binom.cdf(latency._rank(n) - 1, n, 0.5) for n in SCHEDULE]
    assert sum(chances) <= 0.01
    assert all(chance <= latency.FALSE_PASS for chance in chances)


@pytest.mark.parametrize("blocks", SCHEDULE)
def test_intervals_cover_the_truth_as_often_as_the_sign_test_says(blocks: int) -> None:
    covered = 0
    for seed in range(300):
        interval = speedup(_blocks(1.5, blocks, seed))
        covered += interval.low <= 1.5 <= interval.high
    assert covered >= 0.97 * 300  # 98.6 to 99.5 % by the ranks; 97 % is 2.4 standard errors below


def test_a_single_wild_block_does_not_move_the_value() -> None:
    blocks = _blocks(2.0, 9, seed=3)
    wild = [replace(blocks[0], pairs=_blocks(20.0, 1)[0].pairs), *blocks[1:]]
    assert speedup(wild).value == pytest.approx(speedup(blocks).value, rel=0.03)


def test_too_few_blocks_have_no_interval() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        speedup(_blocks(2.0, 7))


def test_the_certificate_of_a_noisy_machine_has_a_wider_guard_band() -> None:
    calm = certificate(_blocks(1.0, 8, between=0.001, within=0.005))
    noisy = certificate(_blocks(1.0, 8, between=0.1, within=0.2))
    assert calm.guard_band == latency.MIN_GUARD_BAND
    assert noisy.guard_band > latency.MAX_GUARD_BAND


def test_a_block_that_shared_its_core_is_disturbed() -> None:
    quiet = _blocks(2.0, 1)[0]
    shared = [replace(p, baseline_wall_ms=1.5 * p.baseline_wall_ms) for p in quiet.pairs]
    assert quiet.disturbed == ""
    assert "wall time says" in replace(quiet, pairs=tuple(shared)).disturbed


def test_a_block_on_a_machine_that_changed_is_disturbed() -> None:
    assert "the same work" in replace(_blocks(2.0, 1)[0], sentinel_ms=(0.60, 0.75)).disturbed


def test_the_schedule_stops_where_the_points_are_settled() -> None:
    clear = _collected(noise.Machine(3.0, np.random.default_rng(0)))
    noisy = _collected(noise.Machine(1.5, np.random.default_rng(0), between=0.15))
    assert len(clear.kept) == SCHEDULE[0]
    assert len(noisy.kept) == SCHEDULE[-1]


def test_a_busy_machine_grades_nobody() -> None:
    broken = [replace(b, sentinel_ms=(1.0, 2.0)) for b in _blocks(2.0, 40)]
    timing = collect(lambda number: broken[number], lambda _: False)
    assert timing.usable == ()
    assert len(timing.disturbed) == latency.MAX_DISTURBED + 1
    assert _outcome(timing) is Outcome.NOT_GRADED


def test_when_the_time_is_over_only_whole_steps_count() -> None:
    blocks = _blocks(1.5, 40, between=0.2)

    def take(number: int) -> Block:
        if number == 13:
            raise NoMoreBlocks
        return blocks[number]

    timing = collect(take, lambda _: False)
    assert (len(timing.kept), len(timing.usable)) == (13, SCHEDULE[0])


def test_disturbed_blocks_are_replaced_and_kept_apart() -> None:
    blocks = _blocks(3.0, 20)
    for number in (1, 4):
        blocks[number] = replace(blocks[number], sentinel_ms=(1.0, 2.0))
    timing = collect(lambda number: blocks[number], lambda _: True)
    assert len(timing.kept) == SCHEDULE[0]
    assert timing.disturbed == (blocks[1], blocks[4])


def test_points_are_for_what_is_proved() -> None:
    lucky = _check(THRESHOLD, Measurement("speedup", Interval(2.04, 1.97, 2.06)))
    assert lucky.outcome is Outcome.PARTIAL
    assert lucky.points == pytest.approx(9.7)
    assert "at least 1.97" in lucky.note


def test_no_processor_is_as_fast_as_a_clock_that_was_stopped() -> None:
    products = [Product("Conv", 40_000_000, 32, 32)]
    floor = roofline.floor_ms(products, 2_000_000, 16, ("avx2", "avx512f", "avx512_vnni"))
    assert 0.1 < floor < 5  # 0.64 G products at some 1.5 T/s; this model takes 15 ms for a batch


def test_the_floor_of_a_large_model_is_reading_it() -> None:
    read = roofline.floor_ms([], 10**9, 1, ("avx2",))
    assert read == pytest.approx(1e3 * 10**9 / (128 * 6e9))


def test_integers_may_be_faster_and_an_unknown_processor_fastest() -> None:
    def floor(bits: int, isa: tuple[str, ...]) -> float:
        return roofline.floor_ms([Product("Conv", 10**9, bits, bits)], 0, 1, isa)

    assert floor(8, ("amx_int8",)) < floor(32, ("amx_int8",))
    assert floor(8, ()) <= min(floor(8, (flag,)) for flag in roofline.PRODUCTS_PER_CYCLE)


def test_pairs_are_read_on_a_log_scale() -> None:
    """Twice as fast and half as fast cancel out."""
    pairs = (Pair(2, 1, 2, 1), Pair(1, 2, 1, 2))
    assert Block(pairs, noise.QUIET).log_ratio == pytest.approx(0)
    assert math.exp(Block(pairs[:1], noise.QUIET).log_ratio) == pytest.approx(2)
