"""Room 5: the model that was handed in, in our own form, or why it is none.

A process in the sandbox parses the file (parse.py) and answers with it in canonical form. A
forged file might take over that process, so the answer is checked here without being parsed: its
size is the number of its bytes, and the ledger must add up to it. Anything else that it could say
wrongly, it would say of a model whose bytes and answers are then measured.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autograder import lab as demands
from autograder import question
from autograder.examples import architecture_of, takes_of
from autograder.frames import Message
from autograder.lab import MIB, Limits
from autograder.records import Artefact, Finding, TensorBytes
from autograder.sandbox import Sandbox
from autograder.shown import shown
from labkit import onnx_rules
from labkit.models import spec_to_dict
from labkit.onnx_session import OUTPUT

LIMITS = Limits(wall_clock_s=60, memory_bytes=4096 * MIB, processes=64)
ATTEMPTS = 2  # a process that the machine takes away looks like one that a file has crashed
MAX_AXIS = 2**48
DENSE = "dense.onnx"  # beside a checkpoint: what ONNX Runtime is given


class _Inconsistent(Exception):
    """What came out of the sandbox cannot be true. The message says in what."""


def load(
    raw: bytes | None, wanted: demands.Artefact, folder: Path, sandbox: Sandbox
) -> Artefact | Finding:
    """The artefact in canonical form, written to the folder; or why it is none.

    Raises:
        SandboxUnavailable: no process could be started to read it.
    """
    if raw is None:
        message = (
            f"No {wanted.file} was handed in: the last notebook must run to its end and call "
            "labkit.submit. Its artefact checks earn nothing until it does."
        )
        return Finding(wanted.file, message)
    if too_large := _too_large("model", len(raw), wanted):
        return too_large
    answer = _asked(raw, wanted, sandbox)
    if isinstance(answer, Finding):
        return answer
    reply, payload = answer
    if "refused" in reply:
        return Finding(wanted.file, shown(str(reply["refused"]), 2000))
    path = folder / wanted.file
    try:
        canonical, dense = _parted(reply, payload, wanted)
        artefact = _checked(reply, canonical, path)
    except _Inconsistent as lie:
        message = f"The process that read the model answered with {lie}. Export the model anew."
        return Finding(wanted.file, message)
    if too_large := _too_large("model in canonical form", len(canonical), wanted):
        return too_large
    path.write_bytes(canonical)
    if not dense:
        return artefact
    (folder / DENSE).write_bytes(dense)
    return replace(artefact, dense=folder / DENSE)


def _too_large(what: str, size: int, wanted: demands.Artefact) -> Finding | None:
    if size <= wanted.max_bytes:
        return None
    message = f"The {what} has {size:,} bytes; at most {wanted.max_bytes:,}. Compress it more."
    return Finding(wanted.file, message)


def _asked(
    raw: bytes, wanted: demands.Artefact, sandbox: Sandbox
) -> tuple[Message, bytes] | Finding:
    request: Message = {"file": wanted.file}
    if wanted.is_checkpoint:
        module = "autograder.parse_checkpoint"
        request["spec"] = spec_to_dict(architecture_of(wanted))
    else:
        module = "autograder.parse"
        request |= {"inputs": takes_of(wanted).names, "outputs": [OUTPUT]}
    why = ""
    for _ in range(ATTEMPTS):
        try:
            return question.ask(sandbox, module, (request, raw), LIMITS, {})
        except question.NoAnswer as gone:
            why = f"the process that read it ended each time ({gone})"
        except question.TimeOver as late:
            why = f"{late.seconds:.0f} s were not enough"
    message = (
        f"The model of {len(raw):,} bytes could not be read: {why}. A model takes a second and "
        f"some {LIMITS.memory_bytes // MIB} MiB at most; export it anew with labkit.export."
    )
    return Finding(wanted.file, message)


def _parted(reply: Message, payload: bytes, wanted: demands.Artefact) -> tuple[bytes, bytes]:
    """The canonical file, and of a checkpoint the same model as ONNX."""
    if not wanted.is_checkpoint:
        return payload, b""
    at = reply.get("canonical_bytes")
    if type(at) is not int or not 0 < at < len(payload):
        raise _Inconsistent("a checkpoint without the model that it stands for")
    return payload[:at], payload[at:]


def _checked(reply: Message, payload: bytes, path: Path) -> Artefact:
    """Raises _Inconsistent unless ledger, operators and size could belong to one model."""
    lines, operators = reply.get("ledger"), reply.get("operators", [])
    if type(lines) is not list or len(lines) > onnx_rules.MAX_TENSORS:
        raise _Inconsistent("a ledger that is none")
    if type(operators) is not list or not all(type(name) is str for name in operators):
        raise _Inconsistent("operators that are no names")
    if strange := set(operators) - onnx_rules.OPERATORS:
        raise _Inconsistent(f"the operator {shown(min(strange))}, which may not be used")
    ledger = tuple(_line(line) for line in lines)
    size = len(payload)
    graph_bytes = size - sum(line.size_bytes for line in ledger)
    if graph_bytes <= 0:
        raise _Inconsistent(f"{size - graph_bytes} bytes of tensors in a file of {size}")
    digest = hashlib.sha256(payload).hexdigest()
    return Artefact(path, size, ledger, graph_bytes, tuple(sorted(set(operators))), digest)


def _line(line: Any) -> TensorBytes:
    if not isinstance(line, Mapping) or set(line) != set(TensorBytes.__dataclass_fields__):
        raise _Inconsistent("a ledger whose lines are none")
    name, shape, dtype, size = (line[key] for key in ("name", "shape", "dtype", "size_bytes"))
    role, elements, zeros = (line[key] for key in ("role", "elements", "zeros"))
    right = (
        type(name) is str
        and type(shape) is list
        and len(shape) <= onnx_rules.MAX_AXES
        and all(type(axis) is int and 0 <= axis < MAX_AXIS for axis in shape)
        and type(dtype) is str
        and dtype in onnx_rules.BITS
        and type(size) is int
        and size == math.ceil(math.prod(shape) * onnx_rules.BITS[dtype] / 8)
        and type(role) is str
        and type(elements) is int
        and type(zeros) is int
        and 0 <= zeros <= elements <= 8 * max(size, 1)
    )
    if not right:
        raise _Inconsistent(f"a ledger line that cannot be true: {shown(str(line))}")
    return TensorBytes(shown(name), tuple(shape), dtype, size, shown(role), elements, zeros)
