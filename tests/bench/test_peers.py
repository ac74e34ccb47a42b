"""The peers' environments can be made again: every package is pinned, and each can be asked."""

import re
from pathlib import Path

import pytest

from bench.peers.environments import REQUIREMENTS
from bench.quantization import HERE, LAYER_METHODS, LLAMA_METHODS, PEERS

LIBRARIES = {
    each for methods in (LAYER_METHODS, LLAMA_METHODS) for of in methods.values() for each in of
}


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_every_library_of_the_tables_can_be_asked(library):
    assert (PEERS / library / "run.py").is_file()
    assert library in HERE or (PEERS / library / "requirements.txt").is_file()


@pytest.mark.parametrize(
    "path", sorted(PEERS.glob("*/requirements*.txt")), ids=lambda p: str(p.relative_to(PEERS))
)
def test_every_package_of_a_peer_is_pinned(path: Path):
    assert path.name in REQUIREMENTS
    lines = [line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines()]
    for line in filter(None, lines):
        assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[0-9][A-Za-z0-9.]*", line), line
