"""In a job's process: read the request's folder, do what it asks, write the answer's.

A failure is an answer too. Labs and their sources are given by who calls this, for the grader
knows none.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

from autograder.lab import Lab
from autograder.runners import grading
from autograder.runners.parcel import Fault, Parcel
from autograder.runners.process import ANSWER, REQUEST, end_with_the_runner

log = logging.getLogger(__name__)


def run(folder: Path, lab_of: Callable[[str], Lab], source: Path) -> None:
    """Do the job of a folder.

    Args:
        lab_of: the lab of a number, as this machine has it.
        source: the folder of source notebooks, likewise.
    """
    end_with_the_runner()
    try:
        answer = _answered(Parcel.read(folder / REQUEST), grading.Place(folder, lab_of, source))
    except Exception as error:
        log.exception("a job failed")
        answer = Fault(f"{type(error).__name__}: {error}").parcel
    answer.write(folder / ANSWER)


def _answered(request: Parcel, place: grading.Place) -> Parcel:
    kind = json.loads(request.text).get("kind")
    if kind != grading.KIND:
        raise ValueError(f"a job of the kind {kind!r}; this version knows {grading.KIND!r}")
    return grading.graded(request, place)
