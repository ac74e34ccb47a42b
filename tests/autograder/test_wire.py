import io
import json
import resource
import struct
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autograder import wire
from labkit.models import (
    BertSpec,
    EfficientNetLiteSpec,
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
KEYS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | FINITE
VALUES = st.recursive(
    SCALARS | FINITE,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text(), inner)
        | st.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=20,
)


def _there_and_back(value: object) -> Any:
    return wire.decode(*wire.encode(value))


@given(VALUES)
def test_plain_values_cross_unchanged(value: object) -> None:
    assert _there_and_back(value) == value


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int8, torch.bool],
)
def test_tensors_keep_dtype_shape_and_bits(dtype: torch.dtype) -> None:
    tensor = torch.arange(6).view(2, 3).to(dtype)
    crossed = _there_and_back({"x": [tensor.T]})["x"][0]
    assert crossed.dtype == dtype
    assert torch.equal(crossed.float(), tensor.T.float())  # float8 has no equality


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


@pytest.mark.parametrize(
    "bad",
    [
        float("nan"), float("inf"), torch.tensor([1.0, float("nan"), 2.0]),
        torch.tensor([-float("inf"), 1.0]), torch.tensor([float("nan")]).to(torch.float8_e4m3fn),
    ],
)  # fmt: skip
def test_what_is_not_finite_does_not_cross(bad: object) -> None:
    with pytest.raises(wire.WireError, match=r"finite|NaN"):
        wire.encode([bad])


@pytest.mark.parametrize(
    "bad",
    [
        object(),
        {object(): 2},
        {1, 2},
        lambda: 0,
        np.array(["a"]),
        1j,
        2**513,
        torch.zeros(2).to_sparse(),
    ],
)
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


def test_what_layers_share_crosses_once_and_is_shared_again() -> None:
    model = build(GptSpec(20, 8, 1, 2, 6)).eval()
    tree, blob = wire.encode(model)
    assert "transformer.wte.weight" in tree["state"] and "lm_head.weight" not in tree["state"]
    crossed = wire.decode(tree, blob)
    assert crossed.lm_head.weight is crossed.transformer.wte.weight


def test_a_model_that_no_longer_shares_what_its_spec_says_does_not_cross() -> None:
    model = build(GptSpec(20, 8, 1, 2, 6)).eval()
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() + 1)
    with pytest.raises(wire.WireError, match="cannot cross"):
        wire.encode(model)


def test_a_model_whose_tensors_are_not_its_spec_s_is_refused_by_name() -> None:
    tree, blob = wire.encode(build(MlpSpec(8, (4,), 2)))
    tree["model"]["hidden"] = [10**9]
    with pytest.raises(wire.WireError, match=r"layers\.0\.weight has shape \(4, 8\)"):
        wire.decode(tree, blob)


@pytest.mark.parametrize(
    "value",
    [
        range(2, 9, 3), slice(None, 4), torch.Size([2, 3]), torch.int8, b"ab\x00", b"",
        {(1, "a"): 2, None: [3]}, MlpSpec(8, (4,), 2), 2**500, -0.0,
    ],
    ids=repr,
)  # fmt: skip
def test_other_plain_values_cross_with_their_type(value: object) -> None:
    crossed = _there_and_back({"x": [value]})["x"][0]
    assert crossed == value
    assert type(crossed) is type(value)


def test_an_array_without_axes_keeps_its_shape() -> None:
    assert _there_and_back(np.array(2.5)).shape == ()


class Agrees:
    """Equal to everything, as a student would like an answer to be."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


class Float(Agrees, float):
    def __float__(self) -> float:
        return 7.0


class NumpyFloat(np.float64):  # a second base crashes NumPy 2.4.6 in item()
    __eq__ = Agrees.__eq__
    __hash__ = Agrees.__hash__


class Int(Agrees, int): ...


class Text(Agrees, str): ...


class List(Agrees, list[object]): ...


class Mapping(Agrees, dict[str, object]):
    def __getitem__(self, key: str) -> object:
        return 7


class Array(Agrees, np.ndarray[Any, Any]): ...


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Float(1.5), float), (NumpyFloat(1.5), float), (Int(3), int), (Text("a"), str),
        (List([1]), list), (Mapping(a=1), dict), (np.ones(2).view(Array), np.ndarray),
        (torch.nn.Parameter(torch.ones(2)), Tensor), (np.bool_(True), bool),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_subclass_arrives_as_the_plain_type(value: object, plain: type) -> None:
    tree, blob = wire.encode(value)
    assert type(wire.decode(json.loads(json.dumps(tree)), blob)) is plain


def _blob(header: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _entry(shape: list[int], start: int, end: int, dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "blob",
    [
        _blob({"0": _entry([0, 2**40], 0, 0)}),  # a sum over the first axis is 2**40 numbers
        _blob({"0": _entry([0] * 2 + [2**15] * 2, 0, 0)}),
        _blob({"0": _entry([1] * 40, 0, 1)}, b"a"),
        _blob({str(i): _entry([0], 0, 0) for i in range(5000)}),
        _blob({"0": _entry([4], 0, 4), "1": _entry([4], 0, 4)}, b"abcd"),  # overlapping
        _blob({"0": _entry([4], 0, 4), "1": _entry([2], 2, 4)}, b"abcd"),
        _blob({"0": _entry([8], 0, 4)}, b"abcd"),  # more than there is
        _blob({"0": _entry([-4], 0, 4)}, b"abcd"),
        _blob({"0": _entry([2], 0, 4, "F16")}, b"\x00\x7c\x00\x7c"),  # infinite
        _blob({"0": _entry([1], 0, 8, "C64")}, bytes(8)),
        _blob({"0": {"dtype": "U8"}}),
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        b"abc",
    ],
)
def test_a_forged_blob_is_refused(blob: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode({"tensor": "0"}, blob)


def test_a_tensor_is_named_once() -> None:
    _, blob = wire.encode(torch.ones(3))
    with pytest.raises(wire.WireError, match="used before"):
        wire.decode({"list": [{"tensor": "0"}] * 2}, blob)


def test_keys_whose_hashes_collide_are_few() -> None:
    modulus = 2**61 - 1  # Python's hash of an int is its remainder
    pairs = [[i * modulus, 0] for i in range(1500)]
    with pytest.raises(wire.WireError):
        wire.decode({"mapping": pairs}, b"")


@pytest.mark.parametrize(
    "tree",
    [
        2**600,
        float("nan"),
        {"range": [0, 2**600, 1]},
        {"range": [0, 1]},
        {"dtype": "load"},
        {"size": [-1, "a"]},
        {"mapping": [[{"list": []}, 1]]},
        {"mapping": 5},
        {"spec": {"family": "mlp", "classes": 10**30}},
        {"spec": {"family": "mlp", "classes": {"a": 1}}},
        {"spec": {"family": "mlp", "hidden": [1.0, float("inf")]}},
        {"reference": {"kind": "Named", "name": "f", "attribute": ""}},
        {"tensor": []},
        {"a" * 10**6: 1},
    ],
)
def test_another_forged_tree_is_refused_in_few_words(tree: Any) -> None:
    with pytest.raises(wire.WireError) as caught:
        wire.decode(tree, b"")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "document", [b"[" * 10**6, b"9" * 10**6, b'{"a": NaN', b"[]", b"{" * 10**6]
)
def test_a_document_that_is_costly_to_parse_is_refused(document: bytes) -> None:
    frame = wire.HEADER.pack(len(document), 0) + document
    with pytest.raises(wire.WireError, match="a frame"):
        wire.read_frame(io.BytesIO(frame))


def test_nesting_is_bounded_in_both_directions() -> None:
    value: Any = 1
    tree: Any = 1
    for _ in range(40):
        value, tree = [value], {"list": [tree]}
    with pytest.raises(wire.WireError, match="nested"):
        wire.encode(value)
    with pytest.raises(wire.WireError, match="nested"):
        wire.decode(tree, b"")


def _forged(spec: Spec, **fields: Any) -> tuple[Any, bytes]:
    tree, blob = wire.encode(build(spec))
    tree["model"] |= fields
    return tree, blob


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        (BertSpec(20, 8, 1, 2, 8, max_tokens=6), {"classes": 10**9}),  # each class gets a name
        (VitSpec(width=8, depth=1, heads=2, ffn=8, image_size=8), {"classes": 10**9}),
        (VitSpec(width=8, depth=1, heads=2, ffn=8, image_size=8), {"image_size": 10**8}),
        (GptSpec(20, 8, 1, 2, 6), {"context": 10**9}),
        (GptSpec(20, 8, 1, 2, 6), {"depth": 10**9}),
        (LlamaSpec(20, 8, 1, 4, 2, 8, 6), {"width": 10**12}),
        (LlamaSpec(20, 8, 1, 4, 2, 8, 6), {"heads": 0}),
        (MlpSpec(8, (4,), 2), {"hidden": [4] * 10**5}),
        (MlpSpec(8, (4,), 2), {"in_features": 2**60}),
        (ResNetSpec(width=4, blocks=1), {"width": 10**7}),
        (ResNetSpec(width=4, blocks=1), {"blocks": "many"}),
        (EfficientNetLiteSpec(width=0.1, classes=3), {"depth": 10.0**9}),
        (EfficientNetLiteSpec(width=0.1, classes=3), {"width": 10.0**9}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_spec_beyond_its_tensors_allocates_nothing(spec: Spec, fields: dict[str, Any]) -> None:
    tree, blob = _forged(spec, **fields)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(wire.WireError):
        wire.decode(tree, blob)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 300 * 1024, "300 MiB: the first import of transformers is part of it"


def _with_hook(model: torch.nn.Module) -> torch.nn.Module:
    model.register_forward_hook(lambda module, args, y: y)
    return model


def _with_another_activation(model: Any) -> torch.nn.Module:
    model.bert.encoder.layer[0].intermediate.intermediate_act_fn = torch.nn.ReLU()
    return model


def _with_another_layer(model: Any) -> torch.nn.Module:
    model.layers[0] = torch.nn.Linear(8, 4, bias=False)
    return model


@pytest.mark.parametrize(
    ("spec", "change"),
    [
        (MlpSpec(8, (4,), 2), _with_hook),
        (MlpSpec(8, (4,), 2), _with_another_layer),
        (BertSpec(20, 8, 1, 2, 8, max_tokens=6), _with_another_activation),
    ],
)
def test_a_model_that_its_spec_does_not_describe_is_not_sent(spec: Spec, change: Any) -> None:
    with pytest.raises(wire.WireError, match="not what a spec"):
        wire.encode(change(build(spec)))


def test_a_model_that_arrives_does_not_move_the_global_generator() -> None:
    crossing = wire.encode(build(MlpSpec(8, (4,), 2)))
    torch.manual_seed(1)
    wire.decode(*crossing)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(1)))
