"""OUT/totals.json: the totals of a lab as they were when its pages were written."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from autograder.book.totals import Total
from autograder.files import write_whole

FILE = "totals.json"


@dataclass(frozen=True)
class Summary:
    """What the course page needs of one total."""

    student: str
    lab: str  # folder
    points: float
    of: int
    open_points: int
    unread_points: int
    days_late: int

    @classmethod
    def of_total(cls, total: Total) -> "Summary":
        late = total.lateness.days if total.lateness else 0
        points = (total.points, total.of, total.open_points, total.unread_points)
        return cls(total.student, total.lab, *points, late)


_ADAPTER = TypeAdapter(list[Summary])


def write(totals: Iterable[Total], out: Path) -> None:
    found = [Summary.of_total(total) for total in totals]
    write_whole(_ADAPTER.dump_json(found, indent=1).decode() + "\n", out / FILE)


def read(out: Path) -> list[Summary]:
    """
    Raises:
        FileNotFoundError: nothing was graded into `out`.
        ValueError: the file is none that `write` makes.
    """
    path = out / FILE
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}; `course grade` or `course regrade` writes it")
    return _ADAPTER.validate_json(path.read_text(encoding="utf-8"))
