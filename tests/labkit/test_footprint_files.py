"""A plan's bytes are those of the tensors in the file that labkit.export writes."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from labkit import export, footprint
from labkit.footprint import PackQuantized, SparseBitmask
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
)

SPECS: dict[str, Spec] = {
    "mlp": MlpSpec(64, (64,)),
    "text_transformer": TextTransformerSpec(64, 64, 2, 2, 96, 16),
    "vit": VitSpec(64, 2, 2, 96, classes=5),
    "bert": BertSpec(64, 64, 2, 2, 96, 32),
    "llama": LlamaSpec(64, 64, 2, 4, 2, 96, 32),
    "llama_untied": LlamaSpec(64, 64, 2, 4, 2, 96, 32, tied=False),
    "resnet": ResNetSpec(32, 1),  # batch norms: buffers, one of them an integer
    "gpt": GptSpec(64, 64, 2, 2, 32),  # linear layers that lie the other way round
}
PACKABLE = [name for name in SPECS if name != "gpt"]
FIELDS = {  # what the two layouts call their tensors
    "weight_packed": "codes", "weight_scale": "scales", "weight_zero_point": "zero_points",
    "weight_shape": "layout", "compressed": "codes", "bitmask": "positions",
    "row_offsets": "positions", "shape": "layout",
}  # fmt: skip
IN_A_MOMENT = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _built(spec: Spec) -> nn.Module:
    torch.manual_seed(0)
    return build(spec).eval()


def _packed_rule(layers: dict[str, export.PackedLinear]) -> footprint.Rule:
    grid = next(iter(layers.values()))
    return footprint.where(
        lambda tensor: tensor.name.removesuffix(".weight") in layers and len(tensor.shape) == 2,
        PackQuantized(grid.group_size, grid.symmetric),
        footprint.as_it_is,
    )


def _sparse_rule(model: nn.Module) -> footprint.Rule:
    state = model.state_dict()

    def rule(tensor: footprint.StoredTensor) -> footprint.Storage:
        sparse = SparseBitmask((state[tensor.name] != 0).float().mean(dtype=torch.float64).item())
        weight = tensor.name.endswith(".weight") and len(tensor.shape) > 1
        dense = footprint.as_it_is(tensor)
        smaller = weight and sparse.parts(tensor).total < dense.parts(tensor).total
        return sparse if smaller else dense

    return rule


def _assert_accounts_for(ledger: footprint.Ledger, folder: Path) -> None:
    file = folder / "model.safetensors"
    stored = load_file(file)
    assert ledger.stored_bytes == sum(tensor.nbytes for tensor in stored.values())
    by_part: Counter[str] = Counter()
    for name, tensor in stored.items():
        by_part[FIELDS.get(name.rpartition(".")[2], "codes")] += tensor.nbytes
    assert {name: getattr(ledger.parts, name) for name in by_part} == by_part
    with file.open("rb") as raw:  # a length of 8 bytes, the header, the tensors, nothing else
        header = int.from_bytes(raw.read(8), "little")
        assert set(json.loads(raw.read(header))) == {*stored, "__metadata__"}
    assert file.stat().st_size == 8 + header + ledger.stored_bytes


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("family", PACKABLE)
def test_packed_codes_take_what_the_ledger_says(
    family: str, symmetric: bool, tmp_path: Path
) -> None:
    model = _built(SPECS[family])
    layers = export.round_linears(model, 32, symmetric)
    export.save_packed_int4(model, tmp_path, layers)
    _assert_accounts_for(footprint.account(model, _packed_rule(layers)), tmp_path)
    with torch.device("meta"):
        shapes = build(SPECS[family])
    assert footprint.account(shapes, _packed_rule(layers)) == footprint.account(
        model, _packed_rule(layers)
    )


@IN_A_MOMENT
@given(
    groups=st.integers(1, 4),
    group_size=st.integers(1, 40),
    hidden=st.integers(1, 30),
    symmetric=st.booleans(),
)
def test_packed_codes_of_any_shape_take_what_the_ledger_says(
    tmp_path: Path, groups: int, group_size: int, hidden: int, symmetric: bool
) -> None:
    """Rows that leave an int32 half filled, and columns of zero points that do."""
    model = _built(MlpSpec(groups * group_size, (hidden,)))
    layers = export.round_linears(model, group_size, symmetric)
    export.save_packed_int4(model, tmp_path, layers)
    _assert_accounts_for(footprint.account(model, _packed_rule(layers)), tmp_path)


@pytest.mark.parametrize("family", SPECS)
@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.9])
def test_a_sparse_file_takes_what_the_ledger_says(
    family: str, zeros: float, tmp_path: Path
) -> None:
    model = _built(SPECS[family])
    generator = torch.Generator().manual_seed(1)
    for weight in (p.data for p in model.parameters() if p.dim() > 1):
        weight[torch.rand(weight.shape, generator=generator) < zeros] = 0
    export.save_sparse_bitmask(model, tmp_path)
    ledger = footprint.account(model, _sparse_rule(model))
    _assert_accounts_for(ledger, tmp_path)
    assert (ledger.parts.positions > 0) == (zeros > 0)


def test_groups_that_do_not_divide_are_refused_as_by_the_writer() -> None:
    with pytest.raises(ValueError, match=r"weight has 10 inputs, .* groups of 4"):
        footprint.account(
            nn.Linear(10, 2),
            footprint.where(footprint.is_matrix, PackQuantized(4, True), footprint.as_it_is),
        )
