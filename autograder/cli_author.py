"""What `course` shows to the authors of labs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from autograder.lab import Lab
from autograder.mutants import Trial

CHARACTERS = 120  # of what the student would read: enough to know it again


@contextmanager
def counting(total: int) -> Iterator[Callable[[str], None]]:
    """Progress on stderr with the time left; what it yields is called when one more is done."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task("starting", total=total)

        def done(what: str) -> None:
            display.update(task, advance=1, description=what)
            if not display.console.is_terminal:
                display.console.print(what)

        yield done


def show_mutants(lab: Lab, trials: Sequence[Trial], console: Console) -> None:
    table = Table("", "solution", "came out", title=lab.title)
    table.columns[1].no_wrap = True
    for trial in trials:
        got = escape(f"{trial.claim}: {trial.got}")
        read = [f"{test if len(trial.lost) > 1 else ''} {text[:CHARACTERS]}".strip()
                for test, text in trial.lost.items()]  # fmt: skip
        table.add_row(
            trial.notebook.partition("-")[0],  # its number: the names do not fit a terminal
            trial.name,
            "\n".join(
                [got if trial.held else f"[red]{got}[/]", *(f"[dim]{escape(r)}[/]" for r in read)]
            ),
        )
    console.print(table)
    held = sum(trial.held for trial in trials)
    console.print(f"{held} of {len(trials)} solutions came out as they claim.")
