"""What a person wrote, made fit to be shown: cleaned, shortened, and given a safe file name."""

import hashlib
import re
import unicodedata
from datetime import UTC, datetime

SHOWN_CHARACTERS = 6000  # of one cell's output; a page stays readable, the evidence has the rest
NAME_CHARACTERS = 80  # of a file name, before the hash; file systems allow 255 bytes

SPELLED = {
    "cpu": "CPU", "fp16": "FP16", "macs": "MACs", "bops": "BOPS", "p90": "P90",
    "mcnemar": "McNemar",
}  # fmt: skip  # words of a label that are not spelled as their key is

_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor moves
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # window titles and links
    r"|\x1b[@-_]?"
)
_PART = r"[^\s/'\"<>|:,;()\[\]{}]+"
_ABSOLUTE_PATH = re.compile(
    r"(?:(?<=file:)/+|(?<![\w./:…])/+|(?<=:)/(?!/))"  # a path begins here, a web address does not
    rf"(?:{_PART}/+)+(?:{_PART})?"
)
# marks that turn the direction of what follows: "dessap" must not read "passed"
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSAFE_IN_FILE_NAME = re.compile(r"[^A-Za-z0-9._@+-]+")


def clean(text: str) -> str:
    """Text without terminal codes, control characters and paths of the machine that graded."""
    lines = _ANSI.sub("", text).replace("\r\n", "\n").split("\n")
    # a progress bar rewrites its line after each carriage return: the last state is what was seen
    seen = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
    return _ABSOLUTE_PATH.sub(_shortened_path, "".join(filter(_is_harmless, seen)))


def _is_harmless(character: str) -> bool:
    if character in "\n\t":
        return True
    return character not in _DIRECTION and unicodedata.category(character) not in ("Cc", "Cs")


def _shortened_path(path: re.Match[str]) -> str:
    parts = [part for part in path.group().split("/") if part]
    kept = parts[-2:] if len(parts) > 2 else parts[-1:]
    return "…/" + "/".join(kept)


def excerpt(text: str) -> str:
    """Beginning and end of a long text: a traceback is read from its end."""
    cleaned = clean(text).strip("\n")
    if len(cleaned) <= SHOWN_CHARACTERS:
        return cleaned
    head, tail = SHOWN_CHARACTERS // 3, SHOWN_CHARACTERS - SHOWN_CHARACTERS // 3
    left_out = len(cleaned) - SHOWN_CHARACTERS
    return f"{cleaned[:head]}\n\n[{left_out:,} characters left out]\n\n{cleaned[-tail:]}"


def file_name(student: str) -> str:
    """The name of a student's page: stays in its folder, and no two students share one."""
    safe = _UNSAFE_IN_FILE_NAME.sub("_", student).lstrip(".-")[:NAME_CHARACTERS]
    if safe == student and student.lower() != "index":
        return f"{safe}.html"
    digest = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{safe}~{digest}.html"  # "~" is not among the safe characters: only we can write it


def number(value: float) -> str:
    """Four digits, or all of them for a whole number."""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def points(value: float) -> str:
    return f"{round(value, 2):g}"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def minute(timestamp: str) -> str:
    """An ISO 8601 time with its zone, in UTC and to the minute."""
    return f"{datetime.fromisoformat(timestamp).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def words(identifier: str) -> str:
    """A key of the records as a label: its parts as words, its unit in brackets."""
    stem, _, last = identifier.rpartition("_")
    if stem and last in ("ms", "s", "bytes"):
        return f"{_sentence(stem)} ({last})"
    return _sentence(identifier)


def _sentence(identifier: str) -> str:
    first, *rest = (SPELLED.get(word, word) for word in identifier.split("_"))
    return " ".join((first[:1].upper() + first[1:], *rest))
