import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autograder import wire
from labkit.models import (
    BertSpec,
    GptSpec,
    LlamaSpec,
    MlpSpec,
    ResNetSpec,
    Spec,
    TextTransformerSpec,
    VitSpec,
    build,
    logits_in,
)

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text()
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | FINITE,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def _there_and_back(value: object) -> Any:
    return wire.decode(*wire.encode(value))


@given(VALUES)
def test_plain_values_cross_unchanged(value: object) -> None:
    assert _there_and_back(value) == value


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.int8, torch.uint8, torch.bool]
)
def test_tensors_keep_dtype_shape_and_bits(dtype: torch.dtype) -> None:
    tensor = torch.arange(6).view(2, 3).to(dtype)
    crossed = _there_and_back({"x": [tensor.T]})["x"][0]
    assert crossed.dtype == dtype
    assert torch.equal(crossed, tensor.T)


def test_arrays_come_back_as_arrays() -> None:
    crossed = _there_and_back(np.arange(4.0))
    assert isinstance(crossed, np.ndarray)
    assert crossed.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("spec", [ResNetSpec(width=4, blocks=1), MlpSpec(8, (4,), 2)])
def test_a_model_crosses_as_spec_and_state(spec: ResNetSpec | MlpSpec) -> None:
    model = build(spec).eval()
    crossed = _there_and_back(model)
    shape = (2, 3, 8, 8) if isinstance(spec, ResNetSpec) else (2, 8)
    images = torch.randn(shape)
    assert torch.equal(crossed(images), model(images))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), torch.tensor([1.0, float("nan")])])
def test_what_is_not_finite_does_not_cross(bad: object) -> None:
    with pytest.raises(wire.WireError, match=r"finite|NaN"):
        wire.encode([bad])


@pytest.mark.parametrize("bad", [object(), {1: 2}, {1, 2}, lambda: 0, np.array(["a"]), 1j])
def test_what_has_no_form_on_the_wire_is_refused_by_name(bad: object) -> None:
    with pytest.raises(wire.WireError):
        wire.encode(bad)


@pytest.mark.parametrize(
    "tree",
    [
        {"tensor": "7"},
        {"pickle": "gASV"},
        {"list": 3},
        {"list": [], "tuple": []},
        {"model": {"family": "resnet", "width": 10**9}, "state": {}},
        {"model": {"family": "os"}, "state": {}},
        {"model": {"family": "llama", "depth": 10**9}, "state": {}},
        {"model": {"family": "gpt", "vocabulary": 10**12, "depth": 0}, "state": {}},
        {"dict": {"a": [1]}},
        [1],
    ],
)
def test_a_forged_tree_is_refused(tree: Any) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(tree, b"")


def test_a_blob_that_is_not_safetensors_is_refused() -> None:
    with pytest.raises(wire.WireError):
        wire.decode({"tensor": "0"}, b"\x80\x04K\x01.")


def test_a_frame_that_announces_too_much_is_not_read() -> None:
    for sizes in ((2**40, 0), (10, 2**40), (wire.MAX_DOCUMENT_BYTES + 1, 0)):
        with pytest.raises(wire.WireError, match="at most"):
            wire.read_frame(io.BytesIO(wire.HEADER.pack(*sizes)))


def test_frames_follow_each_other() -> None:
    stream = io.BytesIO()
    wire.write_frame(stream, {"id": 1}, b"abc")
    wire.write_frame(stream, {"id": 2})
    stream.seek(0)
    assert wire.read_frame(stream) == ({"id": 1}, b"abc")
    assert wire.read_frame(stream) == ({"id": 2}, b"")
    with pytest.raises(EOFError):
        wire.read_frame(stream)


@pytest.mark.parametrize(
    "spec",
    [
        TextTransformerSpec(20, 8, 1, 2, 8, max_tokens=6),
        VitSpec(width=8, depth=1, heads=2, ffn=8, image_size=8),
        BertSpec(20, 8, 1, 2, 8, max_tokens=6),
        GptSpec(20, 8, 1, 2, 6),
        LlamaSpec(20, 8, 1, 4, 2, 8, 6),
    ],
    ids=lambda spec: type(spec).__name__,
)
def test_transformers_cross_too(spec: Spec) -> None:
    model = build(spec).eval()
    crossed = _there_and_back(model)
    if isinstance(spec, VitSpec):
        images = torch.randn(2, 3, 8, 8)
        assert torch.equal(logits_in(crossed(images)), logits_in(model(images)))
        return
    ids = torch.randint(20, (2, 6))
    mask = torch.ones_like(ids)
    answers = [logits_in(m(ids, attention_mask=mask)) for m in (crossed, model)]
    assert torch.equal(*answers)


def test_a_model_whose_tensors_are_not_its_spec_s_is_refused_by_name() -> None:
    tree, blob = wire.encode(build(MlpSpec(8, (4,), 2)))
    tree["model"]["hidden"] = [10**9]
    with pytest.raises(wire.WireError, match=r"layers\.0\.weight has shape \(4, 8\)"):
        wire.decode(tree, blob)
