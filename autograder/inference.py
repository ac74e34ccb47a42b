"""Below the trust line: run ONNX models on inputs that the grader sends. Our code, their file.

It runs in the same sandbox as student code, because the file that it loads is a student's, and
it never sees a label. One process answers one kind of question and ends.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F

from autograder import frames, operations, wire
from autograder.sentinel import sentinel_ms
from labkit import export, timing
from labkit.export.signature import IDS

Feeds = list[timing.Feed]


def answer(request: wire.Message, blob: bytes) -> tuple[wire.Message, bytes]:
    try:
        feeds = [_as_arrays(batch) for batch in wire.decode(request["batches"], blob)]
        tree, reply_blob = wire.encode(DEEDS[request["do"]](request, feeds))
    except Exception as error:  # onnxruntime raises a type per status; each means: does not run
        return {"failed": f"{type(error).__name__}: {str(error)[:1500]}"}, b""
    return {"value": tree}, reply_blob


def _as_arrays(batch: Mapping[str, Any]) -> timing.Feed:
    return dict(batch)


def _predict(request: wire.Message, feeds: Feeds) -> object:
    model = export.session(request["candidate"], threads=request["threads"])
    return [model.run([export.OUTPUT], dict(batch))[0] for batch in feeds]


def _losses(request: wire.Message, feeds: Feeds) -> object:
    """Nats of every predicted token, (rows, tokens - 1): logits of a vocabulary are too many."""
    model = export.session(request["candidate"], threads=request["threads"])
    found = []
    for batch in feeds:
        windows = torch.from_numpy(batch[IDS])
        given = windows[:, :-1].contiguous().numpy()
        logits = torch.from_numpy(model.run([export.OUTPUT], {IDS: given})[0]).float()
        loss = F.cross_entropy(logits.transpose(1, 2), windows[:, 1:], reduction="none")
        found.append(loss.numpy())
    return found


def _time(request: wire.Message, feeds: Feeds) -> object:
    core = _held_to(request["core"])
    before = sentinel_ms()
    paths = request["baseline"], request["candidate"]
    pairs = timing.time_feeds(*paths, feeds, request["seed"])
    after = sentinel_ms()
    return {"pairs": [asdict(pair) for pair in pairs], "sentinel_ms": [before, after], "core": core}


def _count(request: wire.Message, feeds: Feeds) -> object:
    return asdict(operations.count(request["candidate"], feeds[0]))


def _held_to(core: int) -> int:
    """The core that this process now stays on; -1 where that is not permitted."""
    with suppress(OSError):
        os.sched_setaffinity(0, {core})
        return core
    return -1


DEEDS: dict[str, Callable[[wire.Message, Feeds], object]] = {
    "predict": _predict,
    "losses": _losses,
    "time": _time,
    "count": _count,
}

if __name__ == "__main__":
    frames.answer_one(answer)
