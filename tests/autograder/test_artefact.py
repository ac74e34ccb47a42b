"""Room 5: bytes in canonical form, and files that are no acceptable model."""

from pathlib import Path

import minilab
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autograder.artefact import load
from autograder.records import Artefact, Finding
from labkit import export
from labkit.models import ResNetSpec, build

WANTED = minilab.LAB.artefact


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "fp32.onnx"
    return export.to_onnx(build(ResNetSpec(width=4, blocks=1)), path).read_bytes()


def _load(raw: bytes | None, folder: Path) -> Artefact:
    found = load(raw, WANTED, folder)
    assert isinstance(found, Artefact), found
    return found


def _refused(model: onnx.ModelProto | bytes, folder: Path) -> str:
    raw = model if isinstance(model, bytes) else model.SerializeToString()
    found = load(raw, WANTED, folder)
    assert isinstance(found, Finding)
    return found.message


def _edited(raw: bytes) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.ParseFromString(raw)
    return model


def test_the_canonical_model_answers_like_the_one_handed_in(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.onnx").write_bytes(raw)
    canonical = _load(raw, tmp_path)
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
    one, two = (
        export.session(path).run(None, {"images": images})[0]
        for path in (tmp_path / "in.onnx", canonical.path)
    )
    assert np.array_equal(one, two)


def test_the_ledger_and_the_graph_add_up_to_the_file(raw: bytes, tmp_path: Path) -> None:
    found = _load(raw, tmp_path)
    tensors = sum(line.size_bytes for line in found.ledger)
    assert tensors + found.graph_bytes == found.size_bytes == found.path.stat().st_size
    assert tensors >= 4 * sum(np.prod(line.shape) for line in found.ledger if line.dtype == "float")


def test_names_comments_and_metadata_neither_cost_nor_carry_anything(
    raw: bytes, tmp_path: Path
) -> None:
    model = _edited(raw)
    model.doc_string = model.graph.doc_string = "weights hidden in a comment" * 100
    model.producer_name = "x" * 500
    helper.set_model_props(model, {"secret": "y" * 1000})
    for node in model.graph.node:
        node.name, node.doc_string = node.name + "z" * 50, "w" * 50
    canonical = _load(model.SerializeToString(), tmp_path).path.read_bytes()
    assert canonical == _load(raw, tmp_path).path.read_bytes()


def test_tensors_that_no_node_reads_are_paid_for(raw: bytes, tmp_path: Path) -> None:
    model = _edited(raw)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1000, np.float32), "unused"))
    extra = _load(model.SerializeToString(), tmp_path).size_bytes - _load(raw, tmp_path).size_bytes
    assert extra >= 4000


def test_fake_quantised_float_weights_cost_what_floats_cost(raw: bytes, tmp_path: Path) -> None:
    model = _edited(raw)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(values.round(1), tensor.name))
    assert _load(model.SerializeToString(), tmp_path).size_bytes == _load(raw, tmp_path).size_bytes


def test_a_missing_file_says_how_to_hand_one_in(tmp_path: Path) -> None:
    found = load(None, WANTED, tmp_path)
    assert isinstance(found, Finding)
    assert "labkit.submit" in found.message


@pytest.mark.parametrize("junk", [b"", b"\x80\x04K\x01.", b"PK\x03\x04", bytes(1000)])
def test_what_is_no_onnx_is_said_to_be_none(junk: bytes, tmp_path: Path) -> None:
    assert "not an ONNX model" in _refused(junk, tmp_path)


def test_weights_with_nan_are_named(raw: bytes, tmp_path: Path) -> None:
    model = _edited(raw)
    tensor = model.graph.initializer[0]
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    message = _refused(model, tmp_path)
    assert "NaN" in message
    assert tensor.name in message


def test_wrong_input_names_are_shown_beside_the_right_ones(raw: bytes, tmp_path: Path) -> None:
    model = _edited(raw)
    model.graph.input[0].name = "x"
    message = _refused(model, tmp_path)
    assert "['x']" in message
    assert "['images']" in message


def test_external_data_is_refused(raw: bytes, tmp_path: Path) -> None:
    model = _edited(raw)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    assert "another file" in _refused(model, tmp_path)


def test_an_operator_that_is_not_allowed_is_named(raw: bytes, tmp_path: Path) -> None:
    model = _edited(raw)
    model.graph.node[0].domain = "evil"
    assert "evil.Conv" in _refused(model, tmp_path)


def test_a_graph_inside_of_a_node_is_refused(raw: bytes, tmp_path: Path) -> None:
    model = _edited(raw)
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("body", inner))
    assert "graph of its own" in _refused(model, tmp_path)


def test_a_shape_that_claims_more_than_the_bytes_hold_is_refused(
    raw: bytes, tmp_path: Path
) -> None:
    model = _edited(raw)
    model.graph.initializer[0].dims[0] = 10**9
    assert "could not be read" in _refused(model, tmp_path)


def test_a_file_over_the_limit_is_not_parsed(tmp_path: Path) -> None:
    assert "at most" in _refused(bytes(WANTED.max_bytes + 1), tmp_path)
