"""Room 5 for checkpoints: what labkit writes is taken, and what a file claims is not believed."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from autograder import examples, parse_checkpoint
from autograder.artefact import load as load_artefact
from autograder.lab import Artefact as Demand
from autograder.records import Artefact, Finding
from autograder.sandbox import Sandbox
from autograder.size import sparsity
from labkit import export, submission
from labkit.export import predict
from labkit.export.checkpoint import as_one_file, stored_tensors
from labkit.models import ResNetSpec, build, spec_to_dict

SPEC = ResNetSpec(width=8, blocks=1)
REQUEST = {"file": "model.safetensors", "spec": spec_to_dict(SPEC)}
WANTED = Demand("model.safetensors", "llama_sotu", "state_of_the_union")


def _pruned(density: float) -> torch.nn.Module:
    torch.manual_seed(0)
    model = build(SPEC).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            limit = parameter.abs().flatten().quantile(1 - density)
            parameter.data[parameter.abs() < limit] = 0
    return model


@pytest.fixture
def raw(tmp_path: Path) -> bytes:
    return as_one_file(export.save_sparse_bitmask(_pruned(0.1), tmp_path / "sparse"))


def _refused(raw: bytes) -> str:
    reply, blob = parse_checkpoint.answer(REQUEST, raw)
    assert blob == b""
    return str(reply["refused"])


def _changed(raw: bytes, **changes: torch.Tensor | None) -> bytes:
    state = load(raw)
    for name, value in changes.items():
        key = name.replace("__", ".")
        if value is None:
            del state[key]
        else:
            state[key] = value
    return save(state)


def test_a_sparse_checkpoint_answers_as_the_model_that_was_pruned(
    raw: bytes, tmp_path: Path
) -> None:
    reply, blob = parse_checkpoint.answer(REQUEST, raw)
    (tmp_path / "dense.onnx").write_bytes(blob[reply["canonical_bytes"] :])
    images = torch.randn(4, 3, 32, 32)
    expected = _pruned(0.1)(images)
    torch.testing.assert_close(
        predict(tmp_path / "dense.onnx", images), expected, rtol=1e-4, atol=1e-4
    )


def test_the_ledger_counts_every_byte_and_every_zero(raw: bytes) -> None:
    reply, _ = parse_checkpoint.answer(REQUEST, raw)
    lines = reply["ledger"]
    model = _pruned(0.1)
    weights = [p for p in model.parameters() if p.dim() > 1]
    masks = [line for line in lines if line["role"] in ("mask", "weight") and line["elements"]]
    assert sum(line["zeros"] for line in masks) == sum(int((w == 0).sum()) for w in weights)
    assert sum(line["elements"] for line in masks) == sum(w.numel() for w in weights)
    header = reply["canonical_bytes"] - sum(line["size_bytes"] for line in lines)
    assert header > 0


def test_an_untouched_checkpoint_is_taken_too() -> None:
    reply, _ = parse_checkpoint.answer(REQUEST, save(stored_tensors(_pruned(1.0))))
    assert "refused" not in reply


def test_notes_in_the_header_are_not_paid_for(raw: bytes) -> None:
    plain, _ = parse_checkpoint.answer(REQUEST, raw)
    noted, _ = parse_checkpoint.answer(REQUEST, save(load(raw), metadata={"note": "x" * 10_000}))
    assert noted["canonical_bytes"] == plain["canonical_bytes"]


def test_what_is_no_checkpoint_is_said_to_be_none() -> None:
    assert "no safetensors file" in _refused(b"\x80\x04 a pickle")


def test_a_missing_tensor_is_named(raw: bytes) -> None:
    assert "only the baseline has" in _refused(_changed(raw, head__bias=None))


def test_a_tensor_that_the_model_has_not_is_named(raw: bytes) -> None:
    assert "only the file has spare" in _refused(_changed(raw, spare=torch.ones(3)))


def test_a_shape_larger_than_the_models_is_not_unpacked(raw: bytes) -> None:
    """A few bytes may say that they stand for a terabyte."""
    state = load(raw)
    name = next(key for key in state if key.endswith(".shape"))
    state[name] = torch.tensor([2**40, 3, 3, 3])
    assert "the model has" in _refused(save(state))


def test_numbers_that_are_not_finite_are_refused(raw: bytes) -> None:
    state = load(raw)
    name = next(key for key in state if key.endswith(".compressed"))
    state[name][0] = float("nan")
    assert "NaN or infinite" in _refused(save(state))


def test_positions_that_contradict_their_values_are_refused(raw: bytes) -> None:
    state = load(raw)
    name = next(key for key in state if key.endswith(".bitmask"))
    state[name] = torch.zeros_like(state[name])
    assert "could not be read" in _refused(save(state))


def test_a_sandboxed_process_makes_it_an_artefact(isolated: Sandbox, tmp_path: Path) -> None:
    model = build(examples.architecture_of(WANTED)).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data[parameter.abs() < parameter.abs().flatten().median()] = 0
    raw = as_one_file(export.save_sparse_bitmask(model, tmp_path / "sparse"))
    found = load_artefact(raw, WANTED, tmp_path, isolated)
    assert isinstance(found, Artefact), found
    dense_bytes = sum(parameter.nbytes for parameter in model.parameters())
    assert 0.50 < found.size_bytes / dense_bytes < 0.56  # half of the values, and a bit for each
    assert sparsity(found.ledger, prunable=True) == pytest.approx(0.5, abs=0.001)
    assert sparsity(found.ledger, prunable=False) < sparsity(found.ledger, prunable=True)
    assert found.runs == tmp_path / "dense.onnx"
    refused = load_artefact(b"junk", WANTED, tmp_path, isolated)
    assert isinstance(refused, Finding)


def test_submit_takes_the_folder_that_export_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_OUT", str(tmp_path / "out"))
    folder = export.save_sparse_bitmask(_pruned(0.2), tmp_path / "sparse")
    manifest = submission.submit(folder)
    assert manifest.file == "model.safetensors"
    assert (tmp_path / "out" / "model.safetensors").stat().st_size == manifest.size_bytes


def test_submit_says_what_a_folder_lacks(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(submission.SubmissionError, match=r"has no config.json"):
        submission.submit(tmp_path)


def test_a_lab_takes_one_of_two_kinds_of_files() -> None:
    with pytest.raises(ValueError, match=r"\.onnx or \.safetensors"):
        Demand("model.pt", "resnet_cifar10", "cifar10")
