"""Room 6: what the compressed model really is. Bytes, accuracy on hidden data, speed.

No student code runs here. The models run in the sandbox all the same, for the file is a
student's; labels, clocks and statistics are ours.
"""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any

import torch
from numpy.typing import NDArray

from autograder import hidden, wire
from autograder import lab as demands
from autograder.accuracy import accuracy_kept
from autograder.artefact import load
from autograder.lab import Lab, Limits, Metric, Threshold
from autograder.latency import (
    CERTIFICATE_PROCESSES,
    MAX_GUARD_BAND,
    PAIRS_PER_PROCESS,
    SCHEDULE,
    NoiseCertificate,
    certificate,
    speedup,
    wall_speedup,
)
from autograder.machine import lacks
from autograder.records import Artefact, Finding, Interval, Machine, Measurement
from autograder.sandbox import Sandbox, SandboxUnavailable
from labkit import baselines, data, export
from labkit.timing import Pair

INFERENCE_LIMITS = Limits(wall_clock_s=180)
CANDIDATE, BASELINE = "/in/candidate.onnx", "/in/baseline.onnx"


class DoesNotRun(Exception):
    """The student's model failed in ONNX Runtime. The message is ONNX Runtime's."""


@dataclass(frozen=True)
class Baseline:
    """What every artefact of a class run is compared with, measured once."""

    artefact: Artefact
    right: torch.Tensor  # bool, one per hidden example, in the order of `hidden.load`
    noise: NoiseCertificate


def measure(
    artefact: Artefact | Finding, baseline: "Baseline", ruler: "Ruler"
) -> list[Measurement]:
    """One measurement per threshold of the lab, in the lab's order."""
    return [_measured(threshold, artefact, baseline, ruler) for threshold in ruler.lab.thresholds]


def measure_baseline(ruler: "Ruler", folder: Path) -> Baseline:
    """The shipped baseline in FP32, measured like any artefact, and the machine's noise."""
    wanted = ruler.wanted
    exported = export.to_onnx(baselines.load(wanted.baseline), folder / "exported.onnx")
    artefact = load(exported.read_bytes(), wanted, folder)
    assert isinstance(artefact, Artefact), artefact
    examples = hidden.load(wanted.dataset, wanted.hidden_count)
    logits = ruler.predict(artefact.path, examples.images)
    twins = [ruler.time(artefact.path, artefact.path) for _ in range(CERTIFICATE_PROCESSES)]
    return Baseline(artefact, logits.argmax(dim=1) == examples.labels, certificate(twins))


@dataclass(frozen=True)
class Ruler:
    """The machine's side of a measurement: where models run, and what they run on."""

    lab: Lab
    sandbox: Sandbox
    machine: Machine

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
        """Interleaved pairs from one fresh process."""
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
        process = self.sandbox.start(["autograder.inference"], reads, INFERENCE_LIMITS)
        timer = threading.Timer(INFERENCE_LIMITS.wall_clock_s, process.kill)
        timer.start()
        try:
            assert process.stdin is not None and process.stdout is not None
            _await_ready(process.stdout)
            wire.write_frame(process.stdin, {**request, "batches": tree}, blob)  # type: ignore[arg-type]
            reply, reply_blob = wire.read_frame(process.stdout)  # type: ignore[arg-type]
            if "failed" in reply:
                raise DoesNotRun(str(reply["failed"]))
            return wire.decode(reply.get("value"), reply_blob)
        except (OSError, EOFError, wire.WireError) as error:
            raise DoesNotRun(
                f"the process that ran it ended without an answer ({error})"
            ) from error
        finally:
            timer.cancel()
            process.kill()
            process.communicate()


def _measured(
    threshold: Threshold, artefact: Artefact | Finding, baseline: Baseline, ruler: Ruler
) -> Measurement:
    if isinstance(artefact, Finding):
        return Measurement(threshold.metric, None, note=artefact.message)
    if lacking := lacks(ruler.machine, threshold.requires):
        note = f"This check could not be made on this machine: {lacking}."
        return Measurement(threshold.metric, None, note=note, grader_fault=True)
    try:
        return METHODS[threshold.metric](threshold, artefact, baseline, ruler)
    except DoesNotRun as error:
        return Measurement(threshold.metric, None, note=f"ONNX Runtime does not run it: {error}")


def _compression_ratio(
    threshold: Threshold, artefact: Artefact, baseline: Baseline, ruler: Ruler
) -> Measurement:
    """Exact: bytes of the canonical FP32 baseline over bytes of the canonical artefact."""
    ratio = baseline.artefact.size_bytes / artefact.size_bytes
    sizes: dict[str, float | int | str] = {
        "baseline_bytes": baseline.artefact.size_bytes,
        "size_bytes": artefact.size_bytes,
    }
    return Measurement("compression_ratio", Interval(ratio, ratio, ratio), details=sizes)


def _accuracy_kept(
    threshold: Threshold, artefact: Artefact, baseline: Baseline, ruler: Ruler
) -> Measurement:
    wanted = ruler.wanted
    examples = hidden.load(wanted.dataset, wanted.hidden_count)
    logits = ruler.predict(artefact.path, examples.images)
    classes = len(data.IMAGE_SETS[wanted.dataset].classes)
    if logits.shape != (len(examples.labels), classes):
        note = (
            f"The model answers {len(examples.labels)} images with shape {tuple(logits.shape)}; "
            f"expected one logit for each of {classes} classes."
        )
        return Measurement("accuracy_kept", None, note=note)
    return accuracy_kept(baseline.right, logits.argmax(dim=1) == examples.labels)


def _speedup(
    threshold: Threshold, artefact: Artefact, baseline: Baseline, ruler: Ruler
) -> Measurement:
    """More processes on a fixed schedule, until both ends of the interval earn the same points."""
    if (guard_band := baseline.noise.guard_band) > MAX_GUARD_BAND:
        note = (
            f"This machine is too noisy now: it timed two equal models {100 * guard_band:.0f} % "
            "apart. Speed will be measured again."
        )
        return Measurement("speedup", None, note=note, grader_fault=True)
    processes: list[list[Pair]] = []
    for wanted in SCHEDULE:
        while len(processes) < wanted:
            processes.append(ruler.time(baseline.artefact.path, artefact.path))
        interval = speedup(processes)
        if threshold.resolves(interval.low, interval.high):
            break
    pairs = [pair for process in processes for pair in process]
    samples = {
        name: [getattr(pair, name) for pair in pairs]
        for name in ("baseline_cpu_ms", "candidate_cpu_ms", "baseline_wall_ms", "candidate_wall_ms")
    }
    details: dict[str, float | int | str] = {
        "baseline_ms": median(samples["baseline_cpu_ms"]),
        "candidate_ms": median(samples["candidate_cpu_ms"]),
        "wall_ratio": wall_speedup(processes),
        "guard_band": guard_band,
        "processes": len(processes),
        "batch": ruler.wanted.timed_batch,
    }
    return Measurement("speedup", interval, details=details, samples=samples)


METHODS: dict[Metric, Callable[[Threshold, Artefact, Baseline, Ruler], Measurement]] = {
    "compression_ratio": _compression_ratio,
    "accuracy_kept": _accuracy_kept,
    "speedup": _speedup,
}


def _await_ready(replies: IO[bytes]) -> None:
    try:
        wire.read_frame(replies)  # type: ignore[arg-type]
    except (EOFError, wire.WireError) as error:
        message = f"the process that runs models did not start, so nothing was measured ({error})"
        raise SandboxUnavailable(message) from error


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
