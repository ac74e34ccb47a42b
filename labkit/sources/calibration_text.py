"""Text of six kinds for calibrating quantizers, in passages of 500 to 2,000 characters.

A document goes to validation with all its passages, by its hash: a passage is never judged by a
model that saw the passage before it. Three of the files do not say where a document ends; there
each passage counts as one.
"""

import re
import zipfile
from collections.abc import Callable, Iterator

from labkit import registry
from labkit.registry import Package
from labkit.sources import texts
from labkit.sources.texts import Passage, Public

SHORTEST, USUAL, LONGEST = 500, 1000, 2000  # characters
VALIDATION_BELOW = 26  # of the 256 values of a hash's first byte: one document in ten
FOLDER = "exllamav3/conversion/standard_cal_data"
PACKAGE = Package(
    registry="pypi",
    name="exllamav3",
    version="1.6.5",
    file="exllamav3-1.6.5-py3-none-any.whl",
    sha256="550c0d04c755f249840e5c1edc26b0e80c7342c33b5d99ad17479abb407e8ded",
)


def from_package() -> Public:
    train: list[Passage] = []
    validation: list[Passage] = []
    with zipfile.ZipFile(registry.fetch(PACKAGE)) as wheel:
        for source, documents in DOCUMENTS.items():
            for document in documents(wheel.read(f"{FOLDER}/{source}.utf8").decode()):
                part = validation if texts.hash_of(document)[0] < VALIDATION_BELOW else train
                part.extend(Passage(text, source) for text in passages(document))
    return Public(_canonical(train), _canonical(validation))


def passages(document: str) -> Iterator[str]:
    """A document whole if it is of the right length, else cut at the ends of lines or sentences."""
    if len(document) <= LONGEST:
        yield from [document] if len(document) >= SHORTEST else []
        return
    piece = ""
    for line in document.split("\n"):
        piece += f"{line}\n"
        while len(piece) >= USUAL:
            end = _end(piece)
            yield piece[:end].rstrip()
            piece = piece[end:].lstrip(" ")
        piece = piece.lstrip("\n")
    if len(piece.rstrip()) >= SHORTEST:
        yield piece.rstrip()


def _end(piece: str) -> int:
    """Where to cut: after all of it, after a sentence, after a word, or where there is neither."""
    if len(piece) <= LONGEST:
        return len(piece)
    for mark in (". ", " "):
        end = piece.rfind(mark, USUAL, LONGEST)
        if end != -1:
            return end + 1
    return LONGEST


def _canonical(rows: list[Passage]) -> list[Passage]:
    distinct = {row.text: row for row in rows}
    return sorted(distinct.values(), key=lambda row: texts.hash_of(row.text))


def _wiki(file: str) -> list[str]:
    return [re.sub(r"</?doc[^>]*>", "", article).strip() for article in file.split("</doc>")]


def _stories(file: str) -> list[str]:
    return [story.strip() for story in file.split("<|endoftext|>")]


def _code(file: str) -> list[str]:
    """The last part of the file marks where a program begins and ends; what precedes does not."""
    loose, *marked = re.split(r"^// ===== (?:BEGIN \w+|END) =====\n", file, flags=re.MULTILINE)
    return [*passages(loose), *(program.strip("\n") for program in marked)]


DOCUMENTS: dict[str, Callable[[str], list[str]]] = {
    "wiki": _wiki,
    "c4": lambda file: file.split("\n"),
    "tiny": _stories,
    "code": _code,
    "technical": lambda file: list(passages(file)),
    "multilingual": lambda file: list(passages(file)),
}
