"""What a student reads who hands in the wrong thing, and what is written for the right one."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from safetensors.torch import save_file

import labkit
from labkit import export
from labkit.models import (
    LlamaSpec,
    MlpSpec,
    ResNetSpec,
    TextTransformerSpec,
    build,
)
from labkit.submission import SubmissionError

TEXTS = TextTransformerSpec(64, 32, 1, 2, 32, 12)
TOKENS = LlamaSpec(64, 32, 1, 4, 2, 32, 16)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One exported model of each kind."""
    folder = tmp_path_factory.mktemp("exported")
    specs = {"images": ResNetSpec(4, 1), "texts": TEXTS, "tokens": TOKENS}
    return {
        kind: export.to_onnx(build(spec), folder / f"{kind}.onnx") for kind, spec in specs.items()
    }


@pytest.fixture(autouse=True)
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_OUT", str(tmp_path / "out"))
    return tmp_path / "out"


def _refused(path: object, *words: str, takes: export.Signature = export.images()) -> None:
    """The message holds every word, and nothing was handed in."""
    with pytest.raises(SubmissionError) as raised:
        labkit.submit(path, takes)
    for word in words:
        assert word in str(raised.value)
    assert not labkit.submission.output_folder().exists()


def test_an_image_model_is_written_with_its_manifest(models: dict[str, Path], out: Path) -> None:
    manifest = labkit.submit(models["images"])
    written = json.loads((out / "manifest.json").read_text())
    assert written == {
        "file": "model.onnx",
        "sha256": manifest.sha256,
        "size_bytes": models["images"].stat().st_size,
    }
    assert (out / "model.onnx").read_bytes() == models["images"].read_bytes()


@pytest.mark.parametrize(("kind", "spec"), [("texts", TEXTS), ("tokens", TOKENS)])
def test_text_models_are_handed_in_with_what_they_take(
    kind: str, spec: TextTransformerSpec | LlamaSpec, models: dict[str, Path], tmp_path: Path
) -> None:
    takes = export.signature_of(spec)
    labkit.submit(models[kind], takes=takes)
    labkit.submit(export.int8_dynamic(models[kind], tmp_path / "8.onnx"), takes=takes)
    fourth = export.int4_weight_only(models[kind], tmp_path / "4.onnx", embeddings=True)
    assert labkit.submit(fourth, takes=takes).size_bytes == fourth.stat().st_size


def test_what_is_no_path_is_named_with_what_to_do() -> None:
    model = build(MlpSpec(8, (4,)))
    for thing in (model, model.state_dict(), b"onnx", None):
        _refused(thing, f"an object of type {type(thing).__name__}", "labkit.export.to_onnx(model")


def test_a_path_that_leads_nowhere_or_to_a_folder_says_so(tmp_path: Path) -> None:
    _refused(tmp_path / "none.onnx", "none.onnx does not exist", f"looked in {tmp_path}")
    _refused(tmp_path, "is a folder")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty; the export did not finish"),
        (b"junk", "its bytes do not parse"),
        (b"{}", "its bytes do not parse"),
        (b"PK\x03\x04" + bytes(50), "it holds a zip archive, such as torch.save"),
        (b"\x80\x04\x95" + bytes(50), "it holds a pickle"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "it holds HDF5, such as Keras writes"),
    ],
)
def test_another_kind_of_file_is_recognised(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    _refused(tmp_path / "model.onnx", words)


def test_safetensors_are_weights_without_a_computation(tmp_path: Path) -> None:
    save_file(build(MlpSpec(8, (4,))).state_dict(), tmp_path / "m.safetensors")
    _refused(tmp_path / "m.safetensors", "it holds safetensors, which are weights without")


def test_a_file_that_the_grader_would_not_read_is_not_handed_in(tmp_path: Path) -> None:
    with (tmp_path / "big.onnx").open("wb") as file:
        file.truncate(2**27 + 1)
    _refused(tmp_path / "big.onnx", "has 134,217,729 bytes", "at most 134,217,728")


def test_half_a_file_is_no_model(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "half.onnx").write_bytes(models["images"].read_bytes()[:9000])
    _refused(tmp_path / "half.onnx", "is not a valid ONNX model")


def test_weights_in_another_file_are_named(models: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "split.onnx"
    model = onnx.load(str(models["images"]))
    onnx.save(model, str(path), save_as_external_data=True, size_threshold=100)
    _refused(path, "stem.conv.weight is kept in another file", "onnx.save(onnx.load(path)")


@pytest.mark.parametrize(
    ("version", "words"),
    [(99, r"in opset 99; expected 13 to 23"), (24, "in opset 24"), (8, "in opset 8")],
)
def test_an_opset_that_does_not_fit_is_refused(
    version: int, words: str, models: dict[str, Path], tmp_path: Path
) -> None:
    model = onnx.load(str(models["images"]))
    model.opset_import[0].version = version
    onnx.save(model, str(tmp_path / "m.onnx"))
    with pytest.raises(SubmissionError, match=words):
        labkit.submit(tmp_path / "m.onnx")


def _domain(model: onnx.ModelProto, name: str) -> None:
    model.opset_import.append(onnx.helper.make_opsetid(name, 1))
    model.graph.node[0].domain = name


def test_an_operator_that_the_grader_does_not_take_is_named(
    models: dict[str, Path], tmp_path: Path
) -> None:
    model = onnx.load(str(models["images"]))
    _domain(model, "my.own")
    onnx.save(model, str(tmp_path / "m.onnx"))
    _refused(tmp_path / "m.onnx", "operator my.own.Conv is not among those that may be used")


def test_an_operator_that_onnx_runtime_has_not_is_its_refusal_in_short(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """An operator that may be used, in a version of its domain that no runtime knows."""
    model = onnx.load(str(models["images"]))
    _domain(model, "com.microsoft")
    model.graph.node[0].op_type = "FusedConv"
    model.opset_import[-1].version = 77
    onnx.save(model, str(tmp_path / "m.onnx"))
    _refused(tmp_path / "m.onnx", "ONNX Runtime", "does not load the model", "'com.microsoft': 77")


def test_wrong_names_are_shown_beside_the_right_ones(models: dict[str, Path]) -> None:
    _refused(
        models["tokens"], "has inputs ['input_ids']", "expected ['images']", "takes=labkit.export"
    )
    _refused(
        models["tokens"],
        "expected ['input_ids', 'attention_mask']",
        takes=export.signature_of(TEXTS),
    )


def _retyped(models: dict[str, Path], path: Path) -> None:
    model = onnx.load(str(models["tokens"]))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    onnx.save(model, str(path))


def _one_at_a_time(_: dict[str, Path], path: Path) -> None:
    model = onnx.load(str(export.to_onnx(build(ResNetSpec(4, 1)), path)))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, str(path))


def _seven_classes(_: dict[str, Path], path: Path) -> None:
    export.to_onnx(build(ResNetSpec(4, 1, classes=7)), path)


def _broken(_: dict[str, Path], path: Path) -> None:
    model = build(ResNetSpec(4, 1))
    torch.nn.init.constant_(model.head.weight, 3e38)  # finite, and their sum is not
    torch.nn.init.constant_(model.head.bias, 3.402e38)
    export.to_onnx(model, path)


@pytest.mark.parametrize(
    ("make", "takes", "words"),
    [
        (_retyped, TOKENS, "'input_ids' is a tensor(int32) with 2 axes; expected a tensor(int64)"),
        (_one_at_a_time, ResNetSpec(), "does not run on images of shape (3, 3, 32, 32); it must "
         "take any number of images"),
        (_seven_classes, ResNetSpec(), "with logits of shape (1, 7); expected (1, 10)"),
        (_broken, ResNetSpec(), "answers with 10 NaN or infinite logits of 10"),
    ],
)  # fmt: skip
def test_a_model_that_answers_wrongly_is_told_how(
    make: Callable[[dict[str, Path], Path], None],
    takes: LlamaSpec | ResNetSpec,
    words: str,
    models: dict[str, Path],
    tmp_path: Path,
) -> None:
    make(models, tmp_path / "m.onnx")
    _refused(tmp_path / "m.onnx", words, takes=export.signature_of(takes))


def test_a_smaller_vocabulary_is_found_out(models: dict[str, Path]) -> None:
    _refused(models["tokens"], "every token id below 80", takes=export.tokens(80, 16))


def test_a_shorter_context_is_found_out(models: dict[str, Path], tmp_path: Path) -> None:
    """A learned table of 12 positions has no thirteenth."""
    wanted = export.texts(classes=2, vocabulary=64, max_tokens=20)
    _refused(models["texts"], "of tokens up to 20", takes=wanted)
