"""Every family of the course, out of torch and into ONNX Runtime, in FP32 and INT8."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest
import torch
from torch import Tensor, nn

from labkit import evaluation, export
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
from labkit.text import TokenBatch

SPECS: dict[str, Spec] = {
    "vit": VitSpec(64, 2, 2, 96, classes=5),
    "text_transformer": TextTransformerSpec(64, 64, 2, 2, 96, 16),
    "bert": BertSpec(64, 64, 2, 2, 96, 32),
    "gpt": GptSpec(64, 64, 2, 2, 32),
    "llama": LlamaSpec(64, 64, 2, 4, 2, 96, 32),
}


class Exported(NamedTuple):
    model: nn.Module
    path: Path


def _inputs(model: nn.Module, batch: int, tokens: int) -> Tensor | TokenBatch:
    given = export.signature_of(model).example(batch, tokens, seed=1)
    if "attention_mask" in given:
        return TokenBatch(*given.values(), labels=torch.zeros(batch, dtype=torch.int64))
    return next(iter(given.values()))


def _answers(model: nn.Module, inputs: Tensor | TokenBatch) -> Tensor:
    with torch.no_grad():
        if isinstance(inputs, TokenBatch):
            return logits_in(model(inputs.input_ids, attention_mask=inputs.attention_mask))
        return logits_in(model(inputs))


def _ranges(path: Path, inputs: Tensor | TokenBatch) -> dict[str, export.Range]:
    edges = next(export.activations(path, inputs))
    return {name: (value.min().item(), value.max().item()) for name, value in edges.items()}


def _difference(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


@pytest.fixture(scope="module", params=SPECS)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exported]:
    torch.manual_seed(0)
    model = build(SPECS[request.param]).eval()
    for parameter in model.parameters():  # logits near 1, as trained networks have them
        if parameter.dim() > 1:
            parameter.data *= 3
    path = export.to_onnx(model, tmp_path_factory.mktemp("fp32") / f"{request.param}.onnx")
    yield Exported(model, path)


def test_fp32_answers_like_torch_for_any_batch_and_length(exported: Exported) -> None:
    """The same arithmetic in another order: 1e-5 is a hundred FP32 roundings of numbers near 1."""
    for batch, tokens in ((1, 1), (1, 5), (3, 12), (2, 16)):
        inputs = _inputs(exported.model, batch, tokens)
        found = export.predict(exported.path, inputs, chunk=2)
        assert (found - _answers(exported.model, inputs)).abs().max() < 1e-5


def test_the_graph_takes_what_the_signature_says(exported: Exported) -> None:
    takes = export.signature_of(exported.model)
    model = export.session(exported.path)
    assert [value.name for value in model.get_inputs()] == takes.names
    assert [value.shape for value in model.get_inputs()] == [list(i.shape) for i in takes.inputs]
    assert [value.name for value in model.get_outputs()] == ["logits"]


def test_static_int8_stays_within_a_few_steps_of_fp32(exported: Exported, tmp_path: Path) -> None:
    """A step is 1/255 of a range, and two layers of six products add theirs up: 5 % bounds it."""
    inputs = _inputs(exported.model, 8, 12)
    out = export.int8_static(exported.path, _ranges(exported.path, inputs), tmp_path / "q.onnx")
    expected = export.predict(exported.path, inputs)
    assert _difference(export.predict(out, inputs), expected) < 0.05
    assert _linear_weights(out) == {"INT8"}


def test_dynamic_int8_stays_within_a_few_steps_of_fp32(exported: Exported, tmp_path: Path) -> None:
    """As static INT8, with embeddings on 255 steps as well; every weight takes one byte."""
    inputs = _inputs(exported.model, 8, 12)
    out = export.int8_dynamic(exported.path, tmp_path / "q.onnx")
    expected = export.predict(exported.path, inputs)
    assert _difference(export.predict(out, inputs), expected) < 0.05
    floats = {t.name for t in onnx.load(str(out)).graph.initializer if t.data_type == t.FLOAT}
    known = onnx.load(str(exported.path)).graph.initializer
    left = [t.name for t in known if t.name in floats and len(t.dims) == 2 and min(t.dims) > 2]
    assert left == []


def _linear_weights(path: Path) -> set[str]:
    """The types of what the products with constants are stored as; a tied output layer apart."""
    graph = onnx.load(str(path)).graph
    types = {t.name: onnx.TensorProto.DataType.Name(t.data_type) for t in graph.initializer}
    sources = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    products = [n.input[1] for n in graph.node if n.op_type in ("Gemm", "MatMul", "Conv")]
    names = [sources.get(name, name) for name in products]
    return {types[name] for name in names if name in types}


def test_attention_and_norms_stay_out_of_static_int8(exported: Exported) -> None:
    edges = set(next(export.activations(exported.path, _inputs(exported.model, 2, 8))))
    graph = onnx.load(str(exported.path)).graph
    weights = {tensor.name for tensor in graph.initializer}
    products = [n for n in graph.node if n.op_type in ("MatMul", "Gemm", "Conv")]
    assert edges == {n.input[0] for n in products if n.input[1] in weights}
    assert any(n.input[1] not in weights for n in products)  # attention's own


def test_a_tied_output_layer_is_stored_once(tmp_path: Path) -> None:
    """A copy of the 64 x 32 embedding would take another 8,192 bytes."""
    spec = LlamaSpec(64, 32, 1, 4, 2, 32, 16)
    path = export.to_onnx(build(spec), tmp_path / "tied.onnx")
    tables = [t for t in onnx.load(str(path)).graph.initializer if 64 in t.dims]
    assert [list(table.dims) for table in tables] == [[64, 32]]


def test_token_losses_are_those_of_torch(tmp_path: Path) -> None:
    """Losses near 4 nats from logits that agree to 1e-5."""
    model = build(SPECS["llama"]).eval()
    path = export.to_onnx(model, tmp_path / "m.onnx")
    windows = torch.randint(64, (5, 17), generator=torch.Generator().manual_seed(2))
    found = export.token_losses(path, windows, chunk=2)
    assert (found - evaluation.token_losses(model, windows)).abs().max() < 1e-5


def test_texts_keep_their_order_when_they_are_answered_by_length(tmp_path: Path) -> None:
    model = build(SPECS["text_transformer"]).eval()
    path = export.to_onnx(model, tmp_path / "m.onnx")
    mask = (torch.arange(12) < torch.tensor([9, 2, 12, 5, 1])[:, None]).long()
    batch = TokenBatch(torch.randint(64, (5, 12)) * mask, mask, torch.zeros(5).long())
    found = export.predict(path, batch, chunk=2)
    assert (found - evaluation.text_logits(model, batch)).abs().max() < 1e-5


def test_texts_for_an_image_model_are_refused(tmp_path: Path) -> None:
    path = export.to_onnx(build(MlpSpec(64, (8,))), tmp_path / "m.onnx")
    batch = TokenBatch(*(torch.ones(2, 4, dtype=torch.int64),) * 2, torch.zeros(2).long())
    with pytest.raises(ValueError, match="takes images, and got a TokenBatch"):
        export.predict(path, batch)


def test_a_network_of_ones_own_says_what_it_takes(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    with pytest.raises(ValueError, match="a Sequential is no network"):
        export.to_onnx(model, tmp_path / "m.onnx")
    path = export.to_onnx(model, tmp_path / "m.onnx", takes=export.images((3, 2, 2), classes=4))
    images = torch.randn(5, 3, 2, 2)
    assert (export.predict(path, images) - model(images)).abs().max() < 1e-5


def test_a_residual_network_still_has_every_edge_on_a_grid(tmp_path: Path) -> None:
    """What lab 3.1 looks at: sums and ReLUs are among the edges, and the images."""
    path = export.to_onnx(build(ResNetSpec(8, 1)), tmp_path / "m.onnx")
    edges = set(next(export.activations(path, torch.randn(2, 3, 32, 32))))
    graph = onnx.load(str(path)).graph
    assert edges == {"images"} | {
        n.output[0] for n in graph.node if n.op_type in export.QUANTIZED_OPERATORS
    }
