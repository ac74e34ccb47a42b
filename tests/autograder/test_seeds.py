"""Seeds: secret, the same for every retry, and no part of what a student sees."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from autograder.seeds import drawing_from, secret_of, seed_for
from labkit import draws


def test_a_class_run_has_one_secret_that_only_the_grader_reads(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: secret_of(out), range(32)))
    assert len(found) == 1
    assert len(found.pop()) == 32
    assert [path.name for path in out.iterdir()] == ["secret"]
    assert stat.S_IMODE((out / "secret").stat().st_mode) == 0o600
    assert secret_of(out) != secret_of(tmp_path / "other")


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_two_places_share_a_seed_only_if_they_are_one(one: list[str], two: list[str]) -> None:
    seeds = seed_for(b"secret", *one), seed_for(b"secret", *two)
    assert (seeds[0] == seeds[1]) == (one == two)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_draws_are_public_in_place_and_from_the_seed_while_graded() -> None:
    assert draws.seed() == draws.PUBLIC_SEED
    with drawing_from(7):
        inside = torch.rand(3, generator=draws.generator()), torch.rand(3)
        assert torch.equal(*inside)
        assert not torch.equal(inside[0], torch.rand(3, generator=draws.generator(1)))
    assert draws.seed() == draws.PUBLIC_SEED
    assert torch.equal(inside[0], torch.rand(3, generator=torch.Generator().manual_seed(7)))


def test_another_thread_draws_publicly() -> None:
    with drawing_from(7), ThreadPoolExecutor(1) as pool:
        assert pool.submit(draws.seed).result() == draws.PUBLIC_SEED
