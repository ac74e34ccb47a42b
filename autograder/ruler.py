"""Where models run and are timed: processes that answer one question each, and what they answer.

No student code runs here. The models run in the sandbox all the same, for the file is a
student's; clocks are ours, and an answer is data that is checked.
"""

import math
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from autograder import lab as demands
from autograder import question, wire
from autograder.lab import Lab, Limits
from autograder.latency import PAIRS_PER_PROCESS
from autograder.records import Machine
from autograder.sandbox import Sandbox
from labkit import data
from labkit.timing import Pair

INFERENCE_LIMITS = Limits(wall_clock_s=180)
CANDIDATE, BASELINE = "/in/candidate.onnx", "/in/baseline.onnx"


class DoesNotRun(Exception):
    """The student's model failed in ONNX Runtime. The message is ONNX Runtime's."""


class TooSlow(Exception):
    """The time was over before the model had answered: `seconds`, for each process on average."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s were not enough")
        self.seconds = seconds


@dataclass(frozen=True)
class Ruler:
    """The machine's side of a measurement: where models run, and what they run on."""

    lab: Lab
    sandbox: Sandbox
    machine: Machine
    deadline: float = math.inf  # on time.monotonic; no process runs beyond it

    @property
    def wanted(self) -> demands.Artefact:
        """What the lab asks for. Raises ValueError if it is a lab of exercises alone."""
        if self.lab.artefact is None:
            raise ValueError(f"{self.lab.folder} asks for no artefact, so none can be measured")
        return self.lab.artefact

    def predict(self, model: Path, images: torch.Tensor) -> torch.Tensor:
        """Logits for all images, in a random order and batches of random size, put back in order.

        Raises:
            DoesNotRun: ONNX Runtime refuses the model or an input, or an answer is not finite.
            TooSlow: its time was over.
        """
        order = torch.randperm(len(images), generator=_secret_generator())
        parts = order.split(_random_sizes(len(images)))
        request = {
            "do": "predict",
            "candidate": self.sandbox.sees(CANDIDATE, model),
            "threads": self.machine.cores,
        }
        answers = self._ask(request, [images[part].numpy() for part in parts], {CANDIDATE: model})
        for part, answer in zip(parts, answers, strict=True):
            _check_answer(answer, len(part), answers[0].shape)
        logits = torch.cat([torch.from_numpy(answer) for answer in answers])
        restored = torch.empty_like(logits)
        restored[order] = logits
        return restored

    def time(self, baseline: Path, candidate: Path) -> list[Pair]:
        """Interleaved pairs from one fresh process. Raises as `predict` does."""
        request = {
            "do": "time",
            "baseline": self.sandbox.sees(BASELINE, baseline),
            "candidate": self.sandbox.sees(CANDIDATE, candidate),
            "shape": [self.wanted.timed_batch, *data.IMAGE_SETS[self.wanted.dataset].shape],
            "pairs": PAIRS_PER_PROCESS,
            "seed": secrets.randbits(31),
        }
        reads = {BASELINE: baseline, CANDIDATE: candidate}
        return [Pair(**pair) for pair in self._ask(request, None, reads)]

    def _ask(self, request: wire.Message, batches: Any, reads: dict[str, Path]) -> Any:
        tree, blob = wire.encode(batches)
        asked = ({**request, "batches": tree}, blob)
        try:
            reply, reply_blob = question.ask(
                self.sandbox, "autograder.inference", asked, INFERENCE_LIMITS, reads, self.deadline
            )
            if "failed" in reply:
                raise DoesNotRun(str(reply["failed"]))
            return wire.decode(reply.get("value"), reply_blob)
        except question.TimeOver as late:
            raise TooSlow(late.seconds) from late
        except (question.NoAnswer, wire.WireError) as error:
            raise DoesNotRun(
                f"the process that ran it ended without an answer ({error})"
            ) from error


def _check_answer(answer: NDArray[Any], count: int, first: tuple[int, ...]) -> None:
    right = answer.ndim == 2 and answer.shape == (count, *first[1:]) and answer.dtype.kind == "f"
    if not right:
        raise DoesNotRun(
            f"it answers a batch of {count} images with {answer.dtype} of shape {answer.shape}; "
            "expected one row of logits per image, as floats, for any batch size"
        )


def _secret_generator() -> torch.Generator:
    return torch.Generator().manual_seed(secrets.randbits(63))


def _random_sizes(count: int) -> list[int]:
    """Sizes that sum to the count: a model may not know the batch that it is graded in."""
    sizes: list[int] = []
    while (left := count - sum(sizes)) > 0:
        sizes.append(min(left, 64 + secrets.randbelow(256)))
    return sizes
