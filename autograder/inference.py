"""Below the trust line: run ONNX models on inputs that the grader sends. Our code, their file.

It runs in the same sandbox as student code, because the file that it loads is a student's, and
it never sees a label. One process answers one kind of question and ends.
"""

from dataclasses import asdict

from autograder import frames, wire
from labkit import export, timing


def answer(request: wire.Message, blob: bytes) -> tuple[wire.Message, bytes]:
    try:
        tree, reply_blob = _answer(request, blob)
    except Exception as error:  # onnxruntime raises a type per status; each means: does not run
        return {"failed": f"{type(error).__name__}: {str(error)[:1500]}"}, b""
    return {"value": tree}, reply_blob


def _answer(request: wire.Message, blob: bytes) -> tuple[object, bytes]:
    if request["do"] == "time":
        shape, pairs, seed = tuple(request["shape"]), request["pairs"], request["seed"]
        timed = timing.time_pairs(request["baseline"], request["candidate"], shape, pairs, seed)
        return wire.encode([asdict(pair) for pair in timed])
    batches = wire.decode(request["batches"], blob)
    model = export.session(request["candidate"], threads=request["threads"])
    return wire.encode([model.run([export.OUTPUT], {export.INPUT: b})[0] for b in batches])


if __name__ == "__main__":
    frames.answer_one(answer)
