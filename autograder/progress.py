"""What is being done, on stderr, with the time left where somebody says how much there is."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLACE = re.compile(r"(\d+) of (\d+), ")  # how work says where it is


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task("starting", total=None)

        def tell(what: str) -> None:
            display.update(task, description=what)
            if place := PLACE.match(what):
                display.update(task, completed=int(place[1]) - 1, total=int(place[2]))
            if not display.console.is_terminal:
                display.console.print(what)

        yield tell
