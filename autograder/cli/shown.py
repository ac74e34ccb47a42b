"""What the commands show while they work and when they are done."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from autograder import adversaries, calibrate, mutants, validate
from autograder.classrun import ClassResult
from autograder.cli.app import console
from autograder.lab import Lab
from autograder.published import Change
from autograder.records import Check, Outcome

CHARACTERS = 120  # of what the student would read: enough to know it again


@contextmanager
def counting(total: int) -> Iterator[Callable[[str], None]]:
    """Progress on stderr with the time left; what it yields is called when one more is done."""
    with _counted() as display:
        task = display.add_task("starting", total=total)

        def done(what: str) -> None:
            display.update(task, advance=1, description=what)
            if not display.console.is_terminal:
                display.console.print(what)

        yield done


@contextmanager
def counting_to() -> Iterator[Callable[[int, int, str], None]]:
    """The same for work that says itself how much of it there is: (done, of, what)."""
    with _counted() as display:
        task = display.add_task("starting", total=None)
        yield lambda done, of, what: display.update(
            task, completed=done, total=of, description=what
        )


def _counted() -> Progress:
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    return Progress(*columns, console=Console(stderr=True))


def show(lab: Lab, result: ClassResult) -> None:
    metrics = [threshold.metric for threshold in lab.thresholds]
    titles = (metric.replace("_", " ") for metric in metrics)
    table = Table("submission", "points", "exercises", *titles, "open", title=lab.title)
    for item in result.graded:
        verdict = item.verdict
        checks = {check.name: check for check in verdict.checks}
        passed = [c.outcome is Outcome.PASSED for c in verdict.checks if c.threshold is None]
        table.add_row(
            item.student,
            f"{verdict.points:.1f}/{verdict.of}",
            f"{sum(passed)}/{len(passed)}",
            *(measured(checks[metric]) for metric in metrics),
            str(len(verdict.open)),
        )
    for refusal in result.refused:
        table.add_row(escape(refusal.student), "refused", escape(refusal.reason))
    console.print(table)
    if result.changed:
        console.print("The lab's numbers have changed since these were published:")
        show_changes(result.changed)
    console.print(f"Open {result.page} in a browser.", soft_wrap=True)


def show_changes(changes: Sequence[Change]) -> None:
    if not changes:
        console.print("No grade differs from what is published.")
        return
    table = Table("student", "published", "now", "change", "why")
    for change in changes:
        before = "none" if change.before is None else f"{change.before:.1f}"
        difference = change.after - (change.before or 0.0)
        why = escape("\n".join(change.reasons))
        table.add_row(
            escape(change.student), before, f"{change.after:.1f}", f"{difference:+.1f}", why
        )
    console.print(table)


def show_calibration(lab: Lab, found: calibrate.Calibration) -> None:
    table = Table("method", *(t.metric for t in lab.thresholds), title=lab.title)
    for method in found.methods:
        values = (method.intervals(threshold.metric) for threshold in lab.thresholds)
        table.add_row(method.name, *(", ".join(f"{i.value:.4g}" for i in each) for each in values))
    console.print(table)
    proposed = Table("metric", "none", "full", "now", "basis", "warning")
    now = {threshold.metric: threshold for threshold in lab.thresholds}
    for each in found.proposals:
        standing = f"{now[each.metric].none:g} to {now[each.metric].full:g}"
        none, full = f"{each.none:g}", f"{each.full:g}"
        proposed.add_row(each.metric, none, full, standing, each.basis, each.warning)
    console.print(proposed)


def show_attacks(trials: Sequence[adversaries.Trial]) -> None:
    table = Table("case", "expected", "got", "evidence")
    for trial in trials:
        got = trial.got if trial.held else f"[red]{escape(trial.got)}[/]"
        table.add_row(trial.name, trial.expected, got, escape("\n".join(trial.evidence[:2])))
    console.print(table)
    held = sum(trial.held for trial in trials)
    console.print(f"{held} of {len(trials)} cases came out as expected.")


def show_trials(lab: Lab, trials: Sequence[validate.Trial]) -> None:
    columns = ("notebook", "test", "points", "in place", "examined", "untouched")
    table = Table(*columns, title=lab.title)
    for trial in trials:
        held = sum(not message for message in trial.examined)
        table.add_row(
            trial.notebook.partition("-")[0],  # its number: the names do not fit a terminal
            trial.id,
            str(trial.points),
            "fails" if trial.in_place else "passes",
            f"{held} of {len(trial.examined)} pass",
            "passes" if trial.untouched else "fails",
        )
    console.print(table)


def show_mutants(lab: Lab, trials: Sequence[mutants.Trial]) -> None:
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


def measured(check: Check) -> str:
    """A check in a table's cell: what was measured, and the points for it."""
    value = check.measurement.value if check.measurement else None
    figure = f"{value.value:.2f}" if value else "none"
    points = "open" if check.points is None else f"{check.points:.0f}/{check.of}"
    return f"{figure}, {points}"
