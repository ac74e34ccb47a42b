"""Which submissions of a class are more alike than independent work: code, and models' bytes.

Both are sets of fingerprints; two submissions share |A & B| / |A | B| of theirs. What more than
a fifth of the class shares is the task's own (a stub's lines, the one obvious solution, layers that
training leaves alone) and does not count. A pair is a place to look, not a verdict: short exercises
leave little choice, and a deterministic recipe gives everybody the same model.

Source    Schleimer et al., "Winnowing: Local Algorithms for Document Fingerprinting", SIGMOD 2003
          (code: shingles of tokens, winnowed); chunks cut by content, as in LBFS, Muthitacharoen et
          al., SOSP 2001 (models: what is inserted before a chunk does not move its cuts).
"""

import hashlib
import io
import itertools
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autograder.records import Artefact, Evidence

SHINGLE_TOKENS, WINDOW = 12, 8
CHUNK_MASK = 0x3FF  # a cut where the mixed bytes end in ten zeros: chunks of 1 KiB on average
ALIKE = 0.6
LEAST = 12  # fingerprints that are left of each, below which nothing can be said
COMMON = 0.2  # of the class
_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


@dataclass(frozen=True)
class Fingerprints:
    """Of one submission, as 64-bit hashes."""

    student: str
    code: frozenset[int]
    model: frozenset[int]


@dataclass(frozen=True)
class Pair:
    """Two submissions that share most of what is not common to the class."""

    first: str
    second: str
    what: str  # "code" or "model"
    shared: float  # 0 to 1


def fingerprints(evidence: Evidence) -> Fingerprints:
    """Of the student's cells, and of the model in canonical form if its file is there."""
    cells = [c.source for n in evidence.notebooks for c in n.cells if c.of_student]
    code = frozenset(h for source in cells for h in _winnowed(_shingles(source)))
    found = evidence.artefact
    model = _chunks(found.path) if isinstance(found, Artefact) else frozenset[int]()
    return Fingerprints(evidence.submission.student, code, model)


def pairs(found: Iterable[Fingerprints]) -> list[Pair]:
    """All pairs that are alike, those that share most first."""
    ordered = sorted(found, key=lambda each: each.student)
    code = _alike({each.student: each.code for each in ordered}, "code")
    model = _alike({each.student: each.model for each in ordered}, "model")
    return sorted([*code, *model], key=lambda pair: (-pair.shared, pair.first, pair.second))


def _alike(sets: Mapping[str, frozenset[int]], what: str) -> Iterator[Pair]:
    counts = Counter(itertools.chain.from_iterable(sets.values()))
    most = max(2, COMMON * len(sets))
    own = {student: {h for h in each if counts[h] <= most} for student, each in sets.items()}
    holders: dict[int, list[str]] = {}
    for student, each in own.items():
        if len(each) >= LEAST:
            for fingerprint in each:
                holders.setdefault(fingerprint, []).append(student)
    together = Counter(
        pair for each in holders.values() for pair in itertools.combinations(sorted(each), 2)
    )
    for (first, second), both in together.items():
        shared = both / len(own[first] | own[second])
        if shared >= ALIKE:
            yield Pair(first, second, what, shared)


def _shingles(source: str) -> list[int]:
    tokens = list(_tokens(source))
    starts = range(max(0, len(tokens) - SHINGLE_TOKENS + 1))
    return [_hash("\0".join(tokens[i : i + SHINGLE_TOKENS]).encode()) for i in starts]


def _tokens(source: str) -> Iterator[str]:
    """Without comments and layout: those are changed first."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type not in _LAYOUT:
                yield token.string
    except (tokenize.TokenError, SyntaxError):  # of a cell that is none; its beginning counts
        return


def _winnowed(hashes: list[int]) -> Iterator[int]:
    """The least of each window: a match as long as a window is always seen."""
    if hashes:
        for start in range(max(1, len(hashes) - WINDOW + 1)):
            yield min(hashes[start : start + WINDOW])


def _chunks(path: Path) -> frozenset[int]:
    try:
        raw = path.read_bytes()
    except OSError:
        return frozenset()
    values = np.frombuffer(raw, dtype=np.uint8).astype(np.uint32)
    mixed = np.zeros(max(0, len(values) - 3), dtype=np.uint32)
    for shift, part in enumerate((31, 17, 7, 3)):  # four bytes, so that a run of zeros cuts nothing
        mixed += values[shift : shift + len(mixed)] * np.uint32(2654435761 % 2**32 >> part)
    cuts = np.flatnonzero((mixed & CHUNK_MASK == 0) & (values[: len(mixed)] != 0)).tolist()
    ends = itertools.pairwise([0, *cuts, len(raw)])
    return frozenset(_hash(raw[start:end]) for start, end in ends if end > start)


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())
