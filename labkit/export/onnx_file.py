"""Is this file an ONNX model that ONNX Runtime loads? If not: what is it, and what to do."""

from pathlib import Path

import onnx
import onnxruntime as ort

from labkit import onnx_rules
from labkit.export.fp32 import OPSET
from labkit.onnx_session import session

SHOWN = 400  # characters of a library's message
BEGINNINGS = {
    b"PK\x03\x04": "a zip archive, such as torch.save and Keras write",
    b"\x80": "a pickle",
    b"\x89HDF": "HDF5, such as Keras writes",
}


def read(path: object) -> bytes:
    """The bytes of an ONNX model that the grader reads.

    Raises:
        ValueError: the path leads to something else, or the model breaks a rule (onnx_rules.py);
            the message says which, and what to do.
    """
    raw = _bytes(path)
    _check_model(raw, str(path))
    return raw


def loaded(raw: bytes) -> ort.InferenceSession:
    """A model that `read` has passed, in ONNX Runtime.

    Raises:
        ValueError: ONNX Runtime refuses it.
    """
    try:
        return session(raw)
    except Exception as error:  # onnxruntime raises a type per status code
        model = onnx.load_from_string(raw)
        opsets = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
        raise ValueError(
            f"ONNX Runtime {ort.__version__} does not load the model, whose opsets are {opsets}; "
            f"labkit.export writes {OPSET}. It says: {short(error)}"
        ) from error


def short(error: Exception) -> str:
    """The first lines of a library's message, which can run to pages."""
    return str(error).strip()[:SHOWN]


def _bytes(path: object) -> bytes:
    if not isinstance(path, str | Path):
        raise ValueError(
            f"expected the path of an ONNX file, and got an object of type {type(path).__name__}; "
            "write the model first: labkit.submit(labkit.export.to_onnx(model, 'model.onnx'))"
        )
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the path of the ONNX file itself")
    if not path.is_file():
        raise ValueError(
            f"{path} does not exist (looked in {path.absolute().parent}); write the model there "
            "before submitting it"
        )
    size = path.stat().st_size
    if size == 0:
        raise ValueError(f"{path} is empty; the export did not finish, run it again")
    if size > onnx_rules.MAX_BYTES:
        raise ValueError(
            f"{path} has {size:,} bytes; at most {onnx_rules.MAX_BYTES:,} can be handed in. "
            "Compress it more"
        )
    return path.read_bytes()


def _check_model(raw: bytes, path: str) -> None:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
        parsed = bool(model.graph.node)
    except Exception:  # protobuf's DecodeError, which its versions keep in different places
        parsed = False
    if not parsed:
        raise ValueError(
            f"{path} is not a valid ONNX model: {_found(raw)}. Write it with "
            "labkit.export.to_onnx or one of its quantizers"
        )
    try:
        onnx_rules.check(model)
    except onnx_rules.NotAcceptable as problem:
        raise ValueError(f"{path} cannot be handed in. {problem}") from problem
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # onnx raises a type per check
        raise ValueError(f"{path} is not a valid ONNX model: {short(error)}") from error


def _found(raw: bytes) -> str:
    for beginning, kind in BEGINNINGS.items():
        if raw.startswith(beginning):
            return f"it holds {kind}"
    if raw[8:9] == b"{":
        return "it holds safetensors, which are weights without the computation"
    return "its bytes do not parse, or hold a graph without nodes"
