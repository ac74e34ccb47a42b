"""What this machine is and what can be graded on it, as data. The command line prints it."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from autograder import accelerators, machine
from autograder.accelerators import Accelerator
from autograder.lab import MIB, Lab
from autograder.records import Machine
from autograder.runners.capabilities import Capabilities
from autograder.runners.parallel import Elsewhere
from autograder.runners.resources import advertisement
from autograder.sandbox import SandboxUnavailable, find

ENGINES = ("distributed", "safetensors", "nbgrader")  # beside what every report lists


@dataclass(frozen=True)
class Line:
    name: str
    value: str


@dataclass(frozen=True)
class Gradable:
    """A check of a lab, and why it cannot be graded here; empty if it can."""

    lab: str
    check: str
    reason: str


@dataclass(frozen=True)
class Findings:
    machine: tuple[Line, ...]
    checks: tuple[Gradable, ...]
    worker: str  # the command that offers this machine to a Dask scheduler


def examine(labs: Sequence[Lab]) -> Findings:
    """Looks, and starts one trial process in the sandbox; measures nothing."""
    here, refusal = _machine()
    gpus = accelerators.present()
    checks = [check for lab in labs for check in _checks(lab, here, refusal)]
    return Findings(tuple(_lines(here, gpus)), tuple(checks), worker_command(here, gpus))


def worker_command(here: Machine, gpus: Sequence[Accelerator]) -> str:
    """One worker process per core; each runs one job at a time."""
    share = Capabilities.of(here, gpus).shared_by(here.cores)
    said = " ".join(f"{name}={_plain(number)}" for name, number in advertisement(share).items())
    return (
        f"dask worker ADDRESS --nworkers {here.cores} --nthreads 1 --memory-limit 0 --no-dashboard "
        f'--resources "{said}"'
    )


def _machine() -> tuple[Machine, str]:
    """This machine, and why no student code can run on it; empty if it can."""
    try:
        return machine.describe(find(allow_unsafe=False)), ""
    except SandboxUnavailable as error:
        return machine.describe(Elsewhere((), (str(error),))), str(error)


def _lines(here: Machine, gpus: Sequence[Accelerator]) -> list[Line]:
    versions = here.versions | {name: version(name) for name in ENGINES}
    return [
        Line("cpu", f"{here.cpu}, {here.arch}"),
        Line("isa", ", ".join(here.isa) or "none of those that choose kernels"),
        Line("cores", f"{here.cores} ({', '.join(map(str, here.core_numbers))})"),
        Line("memory", f"{here.memory_bytes // MIB:,} MiB"),
        Line("accelerators", ", ".join(map(str, gpus)) or "none"),
        Line("versions", ", ".join(f"{name} {said}" for name, said in versions.items())),
        Line("isolation", "; ".join(here.isolation) or "none"),
        Line("missing", "; ".join(here.missing) or "nothing"),
    ]


def _checks(lab: Lab, here: Machine, refusal: str) -> list[Gradable]:
    exercises = [Gradable(lab.number, f"exercises of {name}", refusal) for name in lab.notebooks]
    thresholds = [
        Gradable(lab.number, each.metric, refusal or machine.lacks(here, each.requires))
        for each in lab.thresholds
    ]
    return [*exercises, *thresholds]


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"
