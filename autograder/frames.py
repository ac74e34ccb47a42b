"""A frame: two big-endian lengths, of a JSON document and of a blob, and the two.

No frame can carry code, and every size is checked before anything is read. What the blob holds
is the matter of who reads it.
"""

import io
import json
import os
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

HEADER = struct.Struct(">QQ")
MAX_FRAME_BYTES = 256 * 1024**2
MAX_DOCUMENT_BYTES = 8 * 1024**2  # parsed, JSON takes some thirty times its bytes

Message = dict[str, Any]


class WireError(Exception):
    """A value cannot cross, or what came is not a frame. The message is fit for a student."""


def write_frame(stream: BinaryIO, message: Message, blob: bytes = b"") -> None:
    document = json.dumps(message, allow_nan=False).encode()
    _check_sizes(len(document), len(blob))
    stream.write(HEADER.pack(len(document), len(blob)) + document + blob)
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[Message, bytes]:
    """The next frame.

    Raises:
        EOFError: the other side is gone.
        WireError: what came is not a frame, or is too large.
    """
    document_bytes, blob_bytes = HEADER.unpack(_read_exactly(stream, HEADER.size))
    _check_sizes(document_bytes, blob_bytes)
    document = _read_exactly(stream, document_bytes)
    blob = _read_exactly(stream, blob_bytes)
    try:
        message = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a frame that is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise WireError(f"a frame holds a {type(message).__name__}, expected an object")
    return message, blob


def answer_one(answer: Callable[[Message, bytes], tuple[Message, bytes]]) -> None:
    """Inside a sandbox: say that all is imported, answer one question, and end (question.py)."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a native library prints must not land between frames
    requests = os.fdopen(0, "rb")
    write_frame(replies, {"ready": True})  # what fails before this is no fault of the student's
    write_frame(replies, *answer(*read_frame(requests)))


def _check_sizes(document_bytes: int, blob_bytes: int) -> None:
    if document_bytes > MAX_DOCUMENT_BYTES or document_bytes + blob_bytes > MAX_FRAME_BYTES:
        raise WireError(
            f"{document_bytes} bytes of values and {blob_bytes} of tensors; at most "
            f"{MAX_DOCUMENT_BYTES} and {MAX_FRAME_BYTES} in all may cross"
        )


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    buffer = io.BytesIO()
    while (missing := count - buffer.tell()) > 0:
        part = stream.read(min(missing, 1024**2))
        if not part:
            raise EOFError("the other side closed the pipe")
        buffer.write(part)
    return buffer.getvalue()
