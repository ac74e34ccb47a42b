"""Rows of text, their canonical order, and the rule that says when two texts are the same.

The canonical order is by the sha256 of a row's text, so the first rows are a random sample.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple


class Labelled(NamedTuple):
    text: str
    label: int  # index into the classes of its set


class Address(NamedTuple):
    text: str
    year: int
    president: str  # full name


class Passage(NamedTuple):
    text: str
    source: str


Rows = list[Labelled] | list[Address] | list[Passage]


class Public(NamedTuple):
    """What students get."""

    train: Rows
    validation: Rows


def digest(rows: Rows) -> str:
    """sha256 over the rows, each as a JSON list on a line of its own, in UTF-8."""
    lines = (json.dumps(list(row), ensure_ascii=False) + "\n" for row in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def public_digest(public: Public) -> str:
    """sha256 over the two parts' digests in hexadecimal, train first."""
    return hashlib.sha256(f"{digest(public.train)}{digest(public.validation)}".encode()).hexdigest()


def hash_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def key(text: str) -> str:
    """Texts with the same key are the same text: case, spaces, marks and accents do not count."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def distinct(rows: Iterable[Labelled], known: Collection[str] = ()) -> list[Labelled]:
    """In canonical order, without rows whose key is empty, in `known`, or met before."""
    seen = set(known) | {""}
    kept = []
    for row in sorted(rows, key=lambda row: hash_of(row.text)):
        if key(row.text) not in seen:
            seen.add(key(row.text))
            kept.append(row)
    return kept
