"""Below the trust line: run ONNX models on inputs that the grader sends. Our code, their file.

It runs in the same sandbox as student code, because the file that it loads is a student's, and
it never sees a label. One process answers one kind of question and ends.
"""

import os
import sys
from dataclasses import asdict

from autograder import wire
from labkit import export, timing


def main() -> None:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a native library prints must not land between frames
    requests = os.fdopen(0, "rb")
    wire.write_frame(replies, {"ready": True})  # what fails before this is no fault of the model
    request, blob = wire.read_frame(requests)
    try:
        value = _answer(request, blob)
    except Exception as error:  # onnxruntime raises a type per status; each means: does not run
        wire.write_frame(replies, {"failed": f"{type(error).__name__}: {str(error)[:1500]}"})
        sys.exit(0)
    tree, reply_blob = value
    wire.write_frame(replies, {"value": tree}, reply_blob)


def _answer(request: wire.Message, blob: bytes) -> tuple[object, bytes]:
    if request["do"] == "time":
        shape, pairs, seed = tuple(request["shape"]), request["pairs"], request["seed"]
        timed = timing.time_pairs(request["baseline"], request["candidate"], shape, pairs, seed)
        return wire.encode([asdict(pair) for pair in timed])
    batches = wire.decode(request["batches"], blob)
    model = export.session(request["candidate"], threads=request["threads"])
    return wire.encode([model.run([export.OUTPUT], {export.INPUT: b})[0] for b in batches])


if __name__ == "__main__":
    main()
