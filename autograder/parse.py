"""Inside the sandbox: read a student's ONNX file, and answer it in canonical form.

Protobuf, onnx and numpy read hostile bytes here, in a process that never sees a label and ends
after one file. Imports no torch, for it starts anew for every model.
"""

from dataclasses import asdict

import onnx

from autograder import canonical, frames
from labkit import onnx_rules
from labkit.onnx_rules import NotAcceptable


def answer(request: frames.Message, raw: bytes) -> tuple[frames.Message, bytes]:
    """The model in canonical form with its ledger and its operators, or why it is refused.

    Args:
        request: `file`, the name for messages; `inputs` and `outputs`, lists of names.
    """
    try:
        model = _parsed(raw, request)
        bare, names = canonical.canonicalise(model)
        payload = bare.SerializeToString(deterministic=True)
    except NotAcceptable as problem:
        return {"refused": str(problem)}, b""
    except Exception as error:  # protobuf and numpy raise whatever a forged file provokes
        message = f"The model could not be read: {type(error).__name__}: {str(error)[:500]}"
        return {"refused": message}, b""
    reply = {
        "ledger": [asdict(line) for line in canonical.ledger(bare, names)],
        "operators": sorted({onnx_rules.operator(node) for node in bare.graph.node}),
    }
    return reply, payload


def _parsed(raw: bytes, request: frames.Message) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except Exception as error:
        raise NotAcceptable(f"{request['file']} is not an ONNX model: {error}") from error
    if not model.graph.node:
        raise NotAcceptable(f"{request['file']} is not an ONNX model: its graph has no nodes.")
    onnx_rules.check(model)
    inputs = [value.name for value in canonical.true_inputs(model.graph)]
    outputs = [value.name for value in model.graph.output]
    if inputs != request["inputs"] or outputs != request["outputs"]:
        raise NotAcceptable(
            f"The model has inputs {_shown(inputs)} and outputs {_shown(outputs)}; expected "
            f"{request['inputs']} and {request['outputs']}. Export it with labkit.export."
        )
    return model


def _shown(names: list[str]) -> list[str]:
    return [name[:60] for name in names[:8]]


if __name__ == "__main__":
    frames.answer_one(answer)
