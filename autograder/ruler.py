"""Where models run and are timed: processes that answer one question each, and what they answer.

No student code runs here. The models run in the sandbox all the same, for the file is a
student's; clocks are ours, and an answer is data that is checked.
"""

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from autograder import arrays, question
from autograder import examples as hidden_examples
from autograder import lab as demands
from autograder.examples import LARGEST_BATCH, Examples
from autograder.frames import Message
from autograder.lab import Lab, Limits
from autograder.latency import PAIRS_PER_BLOCK, Block
from autograder.operations import Operations
from autograder.records import Machine
from autograder.sandbox import Sandbox
from labkit.onnx_session import OUTPUT
from labkit.timing import WARM_UP_CALLS

INFERENCE_LIMITS = Limits(wall_clock_s=180)
CANDIDATE, BASELINE = "/in/candidate.onnx", "/in/baseline.onnx"
_BLOCK, _OPERATIONS = TypeAdapter(Block), TypeAdapter(Operations)


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
    examples_of: Callable[[demands.Artefact], Examples] = hidden_examples.load

    @property
    def wanted(self) -> demands.Artefact:
        """What the lab asks for. Raises ValueError if it is a lab of exercises alone."""
        if self.lab.artefact is None:
            raise ValueError(f"{self.lab.folder} asks for no artefact, so none can be measured")
        return self.lab.artefact

    @property
    def examples(self) -> Examples:
        return self.examples_of(self.wanted)

    def predict(self, model: Path, examples: Examples) -> torch.Tensor:
        """Answers to all examples, asked in a random order and batches of random size.

        Returns:
            In the order of the examples: logits (count, classes), or of a language model the
            nats of every predicted token (count, tokens - 1).

        Raises:
            DoesNotRun: ONNX Runtime refuses the model or an input, or an answer is not finite.
            TooSlow: its time was over.
        """
        order = torch.randperm(len(examples), generator=_secret_generator())
        parts = order.split(_random_sizes(len(examples), LARGEST_BATCH[examples.kind]))
        answers = torch.cat(self.run(model, [examples.rows(part) for part in parts]))
        restored = torch.empty_like(answers)
        restored[order] = answers
        return restored

    def run(self, model: Path, batches: Sequence[Examples]) -> list[torch.Tensor]:
        """The answer to each batch, in one process. Raises as `predict` does."""
        request = {
            "do": "losses" if batches[0].labels is None else "predict",
            "candidate": self.sandbox.sees(CANDIDATE, model),
            "threads": self.machine.cores,
        }
        feeds = [batch.feed() for batch in batches]
        _, blob = self._ask(request, feeds, {CANDIDATE: model})
        try:
            answers = [answer[OUTPUT] for answer in arrays.unpack(blob)]
        except (ValueError, KeyError) as error:
            raise DoesNotRun(f"the process that ran it answered something else: {error}") from error
        if len(answers) != len(batches):
            raise DoesNotRun("the process that ran it did not answer every batch")
        for batch, answer in zip(batches, answers, strict=True):
            _check_answer(answer, batch, answers[0])
        return [torch.from_numpy(answer) for answer in answers]

    def time(self, baseline: Path, candidate: Path, number: int = 0) -> Block:
        """Interleaved pairs from one fresh process, on hidden examples that no call meets twice.

        Args:
            number: of the block; the cores take turns.

        Raises:
            DoesNotRun, TooSlow: as `predict` does.
        """
        cores = sorted(self.machine.core_numbers) or [0]
        request = {
            "do": "time",
            "baseline": self.sandbox.sees(BASELINE, baseline),
            "candidate": self.sandbox.sees(CANDIDATE, candidate),
            "core": cores[number % len(cores)],
            "seed": secrets.randbits(31),
        }
        count = (WARM_UP_CALLS + PAIRS_PER_BLOCK) * self.wanted.timed_batch
        drawn = torch.randperm(len(self.examples), generator=_secret_generator())
        rows = drawn.repeat(math.ceil(count / len(drawn)))[:count]
        feeds = [self.examples.rows(part).feed() for part in rows.split(self.wanted.timed_batch)]
        reads = {BASELINE: baseline, CANDIDATE: candidate}
        return _of_form(_BLOCK, self._ask(request, feeds, reads)[0])

    def count(self, model: Path) -> Operations:
        """What one example costs. Raises as `predict` does."""
        request = {"do": "count", "candidate": self.sandbox.sees(CANDIDATE, model)}
        feeds = [self.examples.rows(slice(0, 1)).feed()]
        return _of_form(_OPERATIONS, self._ask(request, feeds, {CANDIDATE: model})[0])

    def _ask(
        self, request: Message, feeds: Sequence[arrays.Batch], reads: dict[str, Path]
    ) -> tuple[Any, bytes]:
        """What the process says, and the arrays that it answers with."""
        asked = (request, arrays.pack(feeds))
        try:
            reply, blob = question.ask(
                self.sandbox, "autograder.inference", asked, INFERENCE_LIMITS, reads, self.deadline
            )
            if "failed" in reply:
                raise DoesNotRun(str(reply["failed"]))
            return reply.get("value"), blob
        except question.TimeOver as late:
            raise TooSlow(late.seconds) from late
        except question.NoAnswer as error:
            raise DoesNotRun(
                f"the process that ran it ended without an answer ({error})"
            ) from error


def _of_form(form: TypeAdapter[Any], answer: Any) -> Any:
    try:
        return form.validate_python(answer)
    except ValidationError as error:
        raise DoesNotRun(f"the process that ran it answered something else: {error}") from error


def _check_answer(answer: NDArray[Any], batch: Examples, first: NDArray[Any]) -> None:
    count = len(batch)
    each = first.shape[1:] if batch.labels is not None else (batch.tokens - 1,)
    if answer.ndim != 2 or answer.shape != (count, *each) or answer.dtype.kind != "f":
        raise DoesNotRun(
            f"it answers a batch of {count} {batch.kind} with {answer.dtype} of shape "
            f"{answer.shape}; expected one row of logits for each, as floats, for any batch size"
        )
    if not np.isfinite(answer).all():
        bad = int((~np.isfinite(answer)).sum())
        raise DoesNotRun(f"of {answer.size} logits {bad} are not finite")


def _secret_generator() -> torch.Generator:
    return torch.Generator().manual_seed(secrets.randbits(63))


def _random_sizes(count: int, largest: int) -> list[int]:
    """Sizes that sum to the count: a model may not know the batch that it is graded in."""
    sizes: list[int] = []
    smallest = max(1, largest // 5)
    while (left := count - sum(sizes)) > 0:
        sizes.append(min(left, smallest + secrets.randbelow(largest - smallest + 1)))
    return sizes
