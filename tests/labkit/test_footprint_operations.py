"""Multiply-accumulates by hand and as published, and bit operations."""

import pytest
import torch
import torch.nn.functional as F
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench import footprint as bench
from labkit.footprint import Operations, Precision, operations
from labkit.models import LlamaSpec, ResNetSpec, build


def test_a_linear_layer() -> None:
    found = operations(nn.Linear(3, 5), torch.ones(7, 3))
    assert (found.macs, found.flops) == (7 * 3 * 5, 2 * 7 * 3 * 5)


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), 10 * 10 * 8 * 3 * 9),
        (nn.Conv2d(3, 8, 3, stride=2), 4 * 4 * 8 * 3 * 9),
        (nn.Conv2d(3, 6, 3, padding=1, groups=3), 10 * 10 * 6 * 9),  # depthwise: one input each
        (nn.ConvTranspose2d(3, 8, 2, stride=2), 10 * 10 * 3 * 8 * 4),  # each input, once
    ],
)
def test_a_convolution(layer: nn.Module, macs: int) -> None:
    assert operations(layer, torch.ones(2, 3, 10, 10)).macs == 2 * macs


class _Attention(nn.Module):
    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, key)


def test_fused_attention() -> None:
    """Two heads, 5 queries and 7 keys of 4 values: scores and their sums, 5 * 7 * 4 each."""
    found = operations(_Attention(), torch.ones(1, 2, 5, 4), torch.ones(1, 2, 7, 4))
    assert found.macs == 2 * 2 * 5 * 7 * 4


def test_pytorchs_own_attention_and_recurrence_on_a_cpu() -> None:
    """Kernels that the counter does not know, so that it counts nothing when run where they are."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.ones(1, 5, 8)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer(x)
    assert counter.get_total_flops() == 0
    assert operations(layer, x).macs == 5 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 5 * 5 * 8
    assert operations(nn.LSTM(8, 4), x.squeeze(0)).macs == 5 * 4 * 4 * (8 + 4)


class _Vectors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.weight @ x
        return y @ torch.addmv(y, self.weight, x)


def test_products_of_vectors() -> None:
    assert operations(_Vectors(), torch.ones(4)).macs == 2 * 12 + 3


class _Odd(nn.Module):
    """Calls a layer twice, under two names, and one that belongs to another module."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.again = nn.Linear(4, 4)
        self.holder = nn.ModuleDict({"inner": nn.Linear(4, 2)})

    def forward(self, x: Tensor) -> Tensor:
        y = self.again(self.first(x))
        return self.holder["inner"](y) @ torch.ones(2, 3, device=x.device)


def test_each_product_belongs_to_the_innermost_module() -> None:
    found = operations(_Odd(), torch.ones(1, 4))
    assert found.by_module == {"first": 2 * 16, "holder.inner": 8, "": 6}


def test_counting_changes_nothing_and_needs_no_values() -> None:
    model = build(ResNetSpec(8, 1)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    image = torch.ones(1, 3, 32, 32)
    found = operations(model, image)
    assert model.training and not model._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert operations(model.to("meta"), image.to("meta")) == found


def test_arguments_may_be_named() -> None:
    ids = torch.zeros(1, 6, dtype=torch.int64)
    model = build(LlamaSpec(64, 32, 1, 2, 2, 48, 16))
    assert operations(model, input_ids=ids) == operations(model, ids)


@pytest.mark.parametrize("title", bench.MODELS)
def test_the_modules_products_add_up_to_the_counters(title: str) -> None:
    model, example = bench.model(title), bench.example(title)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(example)
    found = operations(model, example)
    assert found.flops == counter.get_total_flops() > 0
    assert min(found.by_module.values()) > 0


def _resnet(**fields: object) -> nn.Module:
    with torch.device("meta"):
        return transformers.ResNetForImageClassification(
            transformers.ResNetConfig(num_labels=1000, **fields)
        )


BASIC = {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}


def test_torchvisions_published_figures() -> None:
    """17.56, 4.09 and 1.81 "GFLOPS" at 224 x 224, which are GMACs: torchvision, docs of the models.

    To the printed digits.
    """
    image = torch.empty(1, 3, 224, 224, device="meta")
    gmacs = {
        "17.56": operations(bench.model("ViT-B/16"), image).macs / 1e9,
        "4.09": operations(_resnet(), image).macs / 1e9,
        "1.81": operations(_resnet(**BASIC), image).macs / 1e9,
    }
    assert {f"{value:.2f}" for value in gmacs.values()} == set(gmacs)


@pytest.mark.parametrize(("title", "gflops"), [("BERT-base", 22.5), ("TinyBERT-4", 1.2)])
def test_published_flops_of_encoders(title: str, gflops: float) -> None:
    """22.5 B and 1.2 B at 128 tokens: Jiao et al., TinyBERT, 2020, table 1.

    5 %: a last digit of 1.2 is 4 %, and their tool counts more than products.
    """
    found = operations(bench.model(title), bench.example(title)).flops / 1e9
    assert found == pytest.approx(gflops, rel=0.05)


def test_llama_2_by_hand() -> None:
    """Each token passes every weight but the embedding's and the norms' once; attention is
    2 * tokens^2 * width per layer."""
    weights = 6_738_415_616 - 32_000 * 4096 - (2 * 32 + 1) * 4096
    expected = 128 * weights + 32 * 2 * 128**2 * 4096
    found = operations(bench.model("Llama-2-7B"), bench.example("Llama-2-7B"))
    assert found.macs == expected


def test_bops_are_macs_times_both_widths() -> None:
    """100 MACs in W4A8, and 10 between activations of 16 bits."""
    found = Operations({"layer": 100, "attention": 10})
    chosen = {"layer": Precision(4, 8), "attention": Precision(16, 16)}
    assert found.bops(chosen.__getitem__) == 100 * 4 * 8 + 10 * 16 * 16


@given(st.integers(1, 32), st.integers(1, 32))
def test_equal_precision_everywhere_is_one_product(weight: int, activation: int) -> None:
    found = Operations({"a": 3, "b": 4})
    assert found.bops(lambda _: Precision(weight, activation)) == found.macs * weight * activation
