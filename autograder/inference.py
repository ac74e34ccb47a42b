"""Below the trust line: run ONNX models on inputs that the grader sends. Our code, their file.

It runs in the same sandbox as student code, because the file that it loads is a student's, and
it never sees a label. One process answers one kind of question and ends. Imports no torch, for it
starts anew for every block that is timed.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autograder import arrays, frames, operations
from autograder.sentinel import sentinel_ms
from labkit import timing
from labkit.onnx_session import IDS, OUTPUT, session

Answers = Sequence[NDArray[Any]]
Feeds = Sequence[arrays.Batch]


def answer(request: frames.Message, blob: bytes) -> tuple[frames.Message, bytes]:
    try:
        feeds = arrays.unpack(blob)
        if request["do"] in ANSWERED:
            answers = ANSWERED[request["do"]](request, feeds)
            return {}, arrays.pack([{OUTPUT: answer} for answer in answers])
        return {"value": SAID[request["do"]](request, feeds)}, b""
    except Exception as error:  # onnxruntime raises a type per status; each means: does not run
        return {"failed": f"{type(error).__name__}: {str(error)[:1500]}"}, b""


def _predict(request: frames.Message, feeds: Feeds) -> Answers:
    model = session(request["candidate"], threads=request["threads"])
    return [model.run([OUTPUT], dict(batch))[0] for batch in feeds]


def _losses(request: frames.Message, feeds: Feeds) -> Answers:
    """Nats of every predicted token, (rows, tokens - 1): logits of a vocabulary are too many."""
    model = session(request["candidate"], threads=request["threads"])
    return [
        _cross_entropy(model.run([OUTPUT], {IDS: batch[IDS][:, :-1]})[0], batch[IDS][:, 1:])
        for batch in feeds
    ]


def _cross_entropy(logits: NDArray[Any], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of logits (rows, tokens, vocabulary) that need not sum to anything."""
    if logits.shape[:2] != targets.shape:
        raise ValueError(f"logits of shape {logits.shape} for targets of {targets.shape}")
    shifted = logits.astype(np.float64) - logits.max(axis=2, keepdims=True)
    chosen = np.take_along_axis(shifted, targets[:, :, None], axis=2)[:, :, 0]
    return np.asarray(np.log(np.exp(shifted).sum(axis=2)) - chosen)


def _time(request: frames.Message, feeds: Feeds) -> dict[str, object]:
    core = _held_to(request["core"])
    before = sentinel_ms()
    paths = request["baseline"], request["candidate"]
    pairs = timing.time_feeds(*paths, feeds, request["seed"])
    after = sentinel_ms()
    return {"pairs": [asdict(pair) for pair in pairs], "sentinel_ms": [before, after], "core": core}


def _count(request: frames.Message, feeds: Feeds) -> dict[str, object]:
    return asdict(operations.count(request["candidate"], feeds[0]))


def _held_to(core: int) -> int:
    """The core that this process now stays on; -1 where that is not permitted."""
    with suppress(OSError):
        os.sched_setaffinity(0, {core})
        return core
    return -1


ANSWERED: dict[str, Callable[[frames.Message, Feeds], Answers]] = {
    "predict": _predict,
    "losses": _losses,
}
SAID: dict[str, Callable[[frames.Message, Feeds], dict[str, object]]] = {
    "time": _time,
    "count": _count,
}

if __name__ == "__main__":
    frames.answer_one(answer)
