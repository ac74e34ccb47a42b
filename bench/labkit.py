"""What labkit costs whoever imports it: `python -m bench.labkit [--json]`.

Every line runs in fresh processes, after one that is not counted and that fills the caches.
Seconds are the least of a few runs: what else the machine does can only add to them. Memory is the
peak of resident pages (VmHWM), which counts the pages of a file that is mapped, too.
"""

import argparse
import json
import logging
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

from autograder import machine, sandbox
from bench import attention
from labkit import baselines, data, pretrained

RUNS = 3
MIB = 1024**2
PROBE = """
import time
before = time.perf_counter()
{imports}
between = time.perf_counter()
{line}
after = time.perf_counter()
with open("/proc/self/status") as status:
    peak = next(int(row.split()[1]) for row in status if row.startswith("VmHWM"))
print(between - before, after - between, peak * 1024)
"""
log = logging.getLogger(__name__)


class Goal(NamedTuple):
    seconds: float
    peak_bytes: float


IMPORT_GOAL = Goal(0.5, math.inf)
LOAD_GOAL = Goal(2.0, 1024 * MIB)


@dataclass(frozen=True)
class Probe:
    """A line of Python and what must be imported for it."""

    name: str
    line: str
    imports: str = ""
    goal: Goal | None = None


@dataclass(frozen=True)
class Cost:
    """What a probe cost a fresh process."""

    name: str
    imports_s: float
    seconds: float  # of the line alone; it may import what is imported on first use
    peak_bytes: int
    above_empty_bytes: int  # than a Python that does nothing
    meets_goal: bool | None  # None where there is no goal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    as_json = parser.parse_args().json
    costs = list(measured([*imports(), *data_sets(), *models()]))
    backward = attention.compare()
    if as_json:
        described = machine.describe(sandbox.find(allow_unsafe=True))
        document = {
            "machine": asdict(described),
            "costs": [asdict(cost) for cost in costs],
            "attention": asdict(backward),
        }
        json.dump(document, sys.stdout, indent=2)
        print()
        return
    print_costs(costs)
    print(f"\n{backward}")


def imports() -> Iterator[Probe]:
    yield Probe("import labkit", "import labkit", goal=IMPORT_GOAL)
    yield Probe("import torch, for comparison", "import torch")


def data_sets() -> Iterator[Probe]:
    for name in data.names():
        load = f"rows = data.{name}('train')"
        read = "data.batch(rows)" if name in data.IMAGE_SETS else "rows['text'][:]"
        for what, line in (("load", load), ("load and read all", f"{load}; all = {read}")):
            title = f"{name}, train: {what}"
            yield Probe(title, line, "from labkit import data", LOAD_GOAL)


def models() -> Iterator[Probe]:
    for name in baselines.names():
        line = f"baselines.load({name!r})"
        yield Probe(f"baseline {name}", line, "from labkit import baselines")
    for name in pretrained.names():
        if (data.cache_folder() / "models" / name).is_dir():
            line = f"pretrained.load({name!r})"
            yield Probe(f"pretrained {name}", line, "from labkit import pretrained")


def measured(probes: list[Probe]) -> Iterator[Cost]:
    """What cannot be had on this machine is named in the log and left out."""
    *_, empty = _run(Probe("nothing", ""))
    for probe in probes:
        try:
            _run(probe)
            runs = [_run(probe) for _ in range(RUNS)]
        except subprocess.CalledProcessError as error:
            log.warning("%s is left out:\n%s", probe.name, error.stderr.strip())
            continue
        imports_s, seconds = min(run[0] for run in runs), min(run[1] for run in runs)
        peak = max(run[2] for run in runs)
        met = probe.goal and seconds < probe.goal.seconds and peak < probe.goal.peak_bytes
        yield Cost(probe.name, imports_s, seconds, peak, peak - empty, met)


def print_costs(costs: list[Cost]) -> None:
    width = max(len(cost.name) for cost in costs)
    print(f"{'':<{width}}{'imports s':>11}{'seconds':>9}{'peak MiB':>10}{'above':>7}  goal")
    for cost in costs:
        goal = {None: "", True: "met", False: "missed"}[cost.meets_goal]
        print(
            f"{cost.name:<{width}}{cost.imports_s:>11.2f}{cost.seconds:>9.3f}"
            f"{cost.peak_bytes / MIB:>10.0f}{cost.above_empty_bytes / MIB:>7.0f}  {goal}"
        )


def _run(probe: Probe) -> tuple[float, float, int]:
    """Seconds of the imports, seconds of the line, peak bytes."""
    code = PROBE.format(imports=probe.imports, line=probe.line)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    imports_s, seconds, peak = done.stdout.splitlines()[-1].split()
    return float(imports_s), float(seconds), int(peak)


if __name__ == "__main__":
    main()
