"""Room 5: bytes in canonical form, and files that are no acceptable model."""

import io
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import minilab
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from autograder import artefact, frames, parse
from autograder.artefact import load
from autograder.lab import MIB, Limits
from autograder.lab import Artefact as Demand
from autograder.records import Artefact, Finding
from autograder.sandbox import Sandbox, SandboxUnavailable
from labkit import export, onnx_rules
from labkit.models import MlpSpec, ResNetSpec, build

WANTED = minilab.LAB.artefact
assert WANTED is not None
REQUEST = {"file": WANTED.file, "inputs": ["images"], "outputs": ["logits"]}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "fp32.onnx"
    return export.to_onnx(build(ResNetSpec(width=4, blocks=1)), path).read_bytes()


@pytest.fixture
def loaded(isolated: Sandbox, tmp_path: Path) -> Callable[[bytes | onnx.ModelProto], Artefact]:
    def make(model: bytes | onnx.ModelProto) -> Artefact:
        found = load(_bytes(model), WANTED, tmp_path, isolated)
        assert isinstance(found, Artefact), found
        return found

    return make


def _bytes(model: bytes | onnx.ModelProto) -> bytes:
    return model if isinstance(model, bytes) else model.SerializeToString()


def _refused(model: bytes | onnx.ModelProto) -> str:
    """Why the process inside the sandbox would refuse the model."""
    reply, payload = parse.answer(REQUEST, _bytes(model))
    assert payload == b""
    return str(reply["refused"])


def _canonical(model: bytes | onnx.ModelProto) -> bytes:
    reply, payload = parse.answer(REQUEST, _bytes(model))
    assert "refused" not in reply, reply
    return payload


def _edited(raw: bytes) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.ParseFromString(raw)
    return model


def test_the_canonical_model_answers_like_the_one_handed_in(
    raw: bytes, loaded: Callable[[bytes], Artefact], tmp_path: Path
) -> None:
    (tmp_path / "in.onnx").write_bytes(raw)
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
    one, two = (
        export.session(path).run(None, {"images": images})[0]
        for path in (tmp_path / "in.onnx", loaded(raw).path)
    )
    assert np.array_equal(one, two)


def test_the_ledger_and_the_graph_add_up_to_the_file(
    raw: bytes, loaded: Callable[[bytes], Artefact]
) -> None:
    found = loaded(raw)
    tensors = sum(line.size_bytes for line in found.ledger)
    assert tensors + found.graph_bytes == found.size_bytes == found.path.stat().st_size
    assert tensors >= 4 * sum(np.prod(line.shape) for line in found.ledger if line.dtype == "float")
    assert {"Conv", "Gemm"} <= set(found.operators)


def test_the_canonical_form_of_a_canonical_form_is_itself(raw: bytes) -> None:
    assert _canonical(_canonical(raw)) == _canonical(raw)


def test_names_comments_and_metadata_neither_cost_nor_carry_anything(raw: bytes) -> None:
    model = _edited(raw)
    model.doc_string = model.graph.doc_string = "weights hidden in a comment" * 100
    model.producer_name = "x" * 500
    helper.set_model_props(model, {"secret": "y" * 1000})
    model.opset_import.append(helper.make_opsetid("hidden.in.a.domain" * 50, 1))
    for node in model.graph.node:
        node.name, node.doc_string = node.name + "z" * 50, "w" * 50
        for attribute in node.attribute:
            attribute.doc_string = "v" * 50
            if attribute.type == attribute.INTS:
                attribute.s = b"beside the value that the type points at"
    assert _canonical(model) == _canonical(raw)


def test_the_field_that_a_tensor_is_stored_in_changes_no_byte(raw: bytes) -> None:
    """Numbers may stand as raw bytes or in a list; a constant of a node alike."""
    model = _edited(raw)
    for tensor in (*model.graph.initializer, *_constants(model)):
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.int64:
            tensor.ClearField("raw_data")
            tensor.int64_data.extend(values.reshape(-1).tolist())
    assert _bytes(model) != raw
    assert _canonical(model) == _canonical(raw)


def _constants(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    return [a.t for node in model.graph.node for a in node.attribute if a.type == a.TENSOR]


def test_tensors_that_no_node_reads_are_paid_for(raw: bytes) -> None:
    model = _edited(raw)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1000, np.float32), "unused"))
    assert len(_canonical(model)) - len(_canonical(raw)) >= 4000


def test_fake_quantised_float_weights_cost_what_floats_cost(raw: bytes) -> None:
    model = _edited(raw)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(values.round(1), tensor.name))
    assert len(_canonical(model)) == len(_canonical(raw))


def test_a_missing_file_says_how_to_hand_one_in(isolated: Sandbox, tmp_path: Path) -> None:
    found = load(None, WANTED, tmp_path, isolated)
    assert isinstance(found, Finding)
    assert "labkit.submit" in found.message


@pytest.mark.parametrize("junk", [b"", b"\x80\x04K\x01.", b"PK\x03\x04", bytes(1000)])
def test_what_is_no_onnx_is_said_to_be_none(junk: bytes, isolated: Sandbox, tmp_path: Path) -> None:
    found = load(junk, WANTED, tmp_path, isolated)
    assert isinstance(found, Finding)
    assert "not an ONNX model" in found.message
    assert list(tmp_path.iterdir()) == []


def _weights(model: onnx.ModelProto, value: float) -> str:
    tensor = model.graph.initializer[0]
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] = value
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return tensor.name


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named(raw: bytes, value: float) -> None:
    model = _edited(raw)
    name = _weights(model, value)
    message = _refused(model)
    assert "NaN or infinite" in message
    assert name in message


def test_minus_infinity_is_what_masks_of_attention_hold(raw: bytes) -> None:
    model = _edited(raw)
    _weights(model, -np.inf)
    assert _canonical(model)


def test_wrong_input_names_are_shown_beside_the_right_ones(raw: bytes) -> None:
    model = _edited(raw)
    model.graph.input[0].name = "x"
    message = _refused(model)
    assert "['x']" in message
    assert "['images']" in message


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _external_constant(model: onnx.ModelProto) -> None:
    """In a node's attribute, and without the flag: a key alone makes it external."""
    tensor = numpy_helper.from_array(np.zeros(1, np.float32))
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.add(op_type="Constant", output=["c"]).attribute.append(
        helper.make_attribute("value", tensor)
    )


def _graph_inside(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("body", inner))


def _graph_under_another_type(model: onnx.ModelProto) -> None:
    _graph_inside(model)
    model.graph.node[0].attribute[-1].type = onnx.AttributeProto.INT


def _too_many_nodes(model: onnx.ModelProto) -> None:
    model.graph.node.extend([onnx.NodeProto(op_type="Relu")] * onnx_rules.MAX_NODES)


def _function(model: onnx.ModelProto) -> None:
    model.functions.add(name="Conv", domain="my")


def _text(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("words", TensorProto.STRING, [1], [b"x"]))


def _type_of_nobody(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = 99


def _shape_claims_more(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 10**9


def _negative_axis(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -1


def _axes_without_end(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(
        TensorProto(name="deep", dims=[1] * 10_000, data_type=TensorProto.INT8, raw_data=b"x")
    )


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_external, "another file"),
        (_external_constant, "another file"),
        (_graph_inside, "graph of its own"),
        (_graph_under_another_type, "graph of its own"),
        (_too_many_nodes, "nodes; at most 5000"),
        (_function, "functions"),
        (_text, "has the type string; expected one of float"),
        (_type_of_nobody, "has the type type 99"),
        (_shape_claims_more, "stores 432 bytes; expected 108000000000"),
        (_negative_axis, "none negative"),
        (_axes_without_end, "has 10000 axes"),
        (lambda m: setattr(m.graph.node[0], "domain", "evil"), "operator evil.Conv"),
        (lambda m: setattr(m.graph.node[0], "op_type", "RandomNormal"), "operator RandomNormal"),
        (lambda m: setattr(m.opset_import[0], "version", 24), "opset 24; expected 13 to 23"),
        (lambda m: setattr(m.graph.node[0].attribute[0], "type", 11), "has the type 11"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_named(
    edit: Callable[[onnx.ModelProto], object], words: str, raw: bytes
) -> None:
    model = _edited(raw)
    edit(model)
    assert words in _refused(model)


def test_a_file_over_the_limit_is_not_parsed(tmp_path: Path) -> None:
    sandbox = Scripted("raise SystemExit")
    found = load(bytes(WANTED.max_bytes + 1), WANTED, tmp_path, sandbox)
    assert isinstance(found, Finding)
    assert "has 134,217,729 bytes; at most 134,217,728" in found.message
    assert sandbox.started == 0


def test_submit_and_the_grader_hold_to_the_same_size() -> None:
    assert Demand("model.onnx", "any", "any").max_bytes == onnx_rules.MAX_BYTES


def test_millions_of_nodes_are_refused_within_the_memory_of_the_process(
    isolated: Sandbox, tmp_path: Path
) -> None:
    """4,000,000 empty nodes in 8 MB, which some 100 bytes each make half a gigabyte of."""
    nodes = b"\x0a\x00" * 4_000_000  # field 1 of a graph, with no bytes
    length = b"\x80\xa4\xe8\x03"  # 8,000,000 as a varint
    found = load(b"\x3a" + length + nodes, WANTED, tmp_path, isolated)  # field 7: the graph
    assert isinstance(found, Finding)
    assert "4000000 nodes" in found.message


@dataclass
class Scripted:
    """A sandbox whose process is ready, reads the question and then runs a script of the test's."""

    script: str
    started: int = 0
    isolation: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def sees(self, inside: str, host: Path) -> str:
        return inside

    def worker(self, reads: Mapping[str, Path], limits: Limits) -> "subprocess.Popen[bytes]":
        raise AssertionError("a model is read by a process of its own")

    def start(
        self, module: Sequence[str], reads: Mapping[str, Path], limits: Limits
    ) -> "subprocess.Popen[bytes]":
        self.started += 1
        script = f"from autograder import frames\ndef lie(request, raw):\n    {self.script}\n"
        return subprocess.Popen(
            [sys.executable, "-c", script + "frames.answer_one(lie)"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )


def _told(script: str, folder: Path) -> str:
    found = load(b"model", WANTED, folder, Scripted(script))
    assert isinstance(found, Finding)
    assert list(folder.iterdir()) == []
    return found.message


def _reply(size: object, shape: object = (2,), dtype: str = "float", operator: str = "Relu") -> str:
    line = {"name": "w", "shape": shape, "dtype": dtype, "size_bytes": size}
    line |= {"role": "weight", "elements": 2, "zeros": 0}
    return f"return {{'ledger': [{line!r}], 'operators': [{operator!r}]}}, bytes(20)"


def test_an_honest_answer_is_believed_in_this_test_too(tmp_path: Path) -> None:
    found = load(b"model", WANTED, tmp_path, Scripted(_reply(8)))
    assert isinstance(found, Artefact)
    assert (found.size_bytes, found.graph_bytes) == (20, 12)
    assert found.path.read_bytes() == bytes(20)


@pytest.mark.parametrize(
    "script",
    [
        _reply(4),  # fewer bytes than the shape has numbers for
        _reply(80, shape=(20,)),  # more than the file has
        _reply(-8, shape=(-2,)),
        _reply(8.0),
        _reply(True, shape=(1,), dtype="int8"),
        _reply(8, shape=(2, *(1,) * 99)),
        _reply(0, shape=(0, 2**60)),
        _reply(8, dtype="complex64"),
        _reply(8, operator="Loop"),
        "return {'ledger': 3, 'operators': []}, bytes(20)",
        "return {'ledger': [{}], 'operators': []}, bytes(20)",
        "return {'ledger': [], 'operators': [[]]}, bytes(20)",
        "return {'ledger': [], 'operators': []}, b''",
        "return {}, bytes(20)",
    ],
)
def test_a_ledger_that_cannot_be_true_is_found_out(script: str, tmp_path: Path) -> None:
    assert "answered with" in _told(script, tmp_path)


def test_more_bytes_than_may_be_are_not_written(tmp_path: Path) -> None:
    script = f"return {{'ledger': [], 'operators': []}}, bytes({WANTED.max_bytes + 1})"
    assert "in canonical form has" in _told(script, tmp_path)


def test_words_from_inside_are_printable_and_end(tmp_path: Path) -> None:
    message = _told(r"return {'refused': '\ud800\x1b[31m' + 'x' * 99999}, b''", tmp_path)
    assert message.isprintable()
    assert len(message) < 2100


@pytest.mark.parametrize(
    "script",
    [
        "import os; os._exit(1)",
        "import os; os.kill(os.getpid(), 11)",
        "import os; os.write(1, b'x' * 64); os._exit(0)",
    ],
)  # fmt: skip
def test_a_process_that_a_file_crashes_twice_is_a_finding(script: str, tmp_path: Path) -> None:
    sandbox = Scripted(script)
    found = load(b"model", WANTED, tmp_path, sandbox)
    assert isinstance(found, Finding)
    assert "ended each time" in found.message
    assert sandbox.started == artefact.ATTEMPTS


def test_a_process_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefact, "LIMITS", Limits(wall_clock_s=3, memory_bytes=512 * MIB))
    assert "3 s were not enough" in _told("import time; time.sleep(600)", tmp_path)


def test_a_process_that_does_not_start_is_no_fault_of_the_students(tmp_path: Path) -> None:
    class Broken(Scripted):
        def start(self, *_: object) -> "subprocess.Popen[bytes]":  # type: ignore[override]
            pipe = subprocess.PIPE
            return subprocess.Popen([sys.executable, "-c", ""], stdin=pipe, stdout=pipe)

    with pytest.raises(SandboxUnavailable, match=r"autograder\.parse did not start"):
        load(b"model", WANTED, tmp_path, Broken(""))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "shape", "dtype", "size_bytes"]), inner)
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({"ledger": JSON | st.lists(JSON, max_size=3), "operators": JSON}))
@settings(max_examples=300, deadline=None)
def test_no_reply_breaks_the_grader(reply: dict[str, object]) -> None:
    try:
        found = artefact._checked(reply, bytes(20), Path("model.onnx"))
    except artefact._Inconsistent:
        return
    assert found.graph_bytes + sum(line.size_bytes for line in found.ledger) == 20


def _mutated(raw: bytes, edits: list[tuple[float, int, bytes]], kept: float) -> bytes:
    """Bits flipped and bytes put in at relative places, then cut."""
    changed = bytearray(raw)
    for place, bit, inserted in edits:
        at = min(int(place * len(changed)), len(changed) - 1)
        changed[at] ^= 1 << bit
        changed[at:at] = inserted
    return bytes(changed[: int(kept * len(changed)) or 1])


PLACES = st.floats(0, 1) | st.floats(0, 0.05) | st.floats(0.9, 1)
EDITS = st.lists(st.tuples(PLACES, st.integers(0, 7), st.binary(max_size=8)), max_size=6)
KEPT = st.just(1.0) | st.floats(0.01, 1)


@cache
def _small() -> bytes:
    model = build(MlpSpec(4, (3,)))
    with TemporaryDirectory() as folder:
        return export.to_onnx(model, Path(folder) / "m.onnx").read_bytes()


def _crossed(reply: frames.Message, payload: bytes) -> tuple[frames.Message, bytes]:
    """As it comes out of the sandbox."""
    stream = io.BytesIO()
    frames.write_frame(stream, reply, payload)
    stream.seek(0)
    return frames.read_frame(stream)


@given(edits=EDITS, kept=KEPT)
@settings(max_examples=400, deadline=None)
def test_a_damaged_model_is_an_artefact_or_a_finding(
    edits: list[tuple[float, int, bytes]], kept: float
) -> None:
    """The inside of the sandbox, called in this process: it must not even raise."""
    reply, payload = _crossed(*parse.answer(REQUEST, _mutated(_small(), edits, kept)))
    if "refused" in reply:
        assert payload == b""
        return
    found = artefact._checked(reply, payload, Path("model.onnx"))
    assert found.size_bytes == len(payload)
