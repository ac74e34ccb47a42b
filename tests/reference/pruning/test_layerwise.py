import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from labkit.models import BertSpec, GptSpec, LlamaSpec, build
from reference import walk
from reference.pruning.gradient.layerwise import (
    by_magnitude,
    by_obc,
    by_sparsegpt,
    by_wanda,
    owl_patterns,
    prune_blocks,
)
from reference.pruning.gradient.pruned import NOfM
from reference.pruning.gradient.sparsegpt import sparsegpt
from reference.pruning.gradient.wanda import wanda
from reference.statistics import input_statistics

METHODS = {"magnitude": by_magnitude, "wanda": by_wanda, "sparsegpt": by_sparsegpt()}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def llama(kv_heads: int = 2) -> tuple[nn.Module, list[str]]:
    spec = LlamaSpec(width=32, depth=2, heads=4, kv_heads=kv_heads, ffn=48, context=32)
    return build(spec).eval(), ["model.layers.0", "model.layers.1"]


def gpt() -> tuple[nn.Module, list[str]]:
    spec = GptSpec(width=32, depth=2, heads=4, context=32)
    return build(spec).eval(), ["transformer.h.0", "transformer.h.1"]


def bert() -> tuple[nn.Module, list[str]]:
    spec = BertSpec(vocabulary=200, width=32, depth=2, heads=4, ffn=64)
    model = build(spec).eval()
    names = [name for name, _ in model.named_modules() if name.endswith(("layer.0", "layer.1"))]
    return model, names


FAMILIES = {"llama": llama, "gpt-2": gpt, "bert": bert}
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def batches(count: int = 3) -> list[torch.Tensor]:
    return list(torch.randint(0, 100, (count, 4, 12)))


def linears(model: nn.Module, blocks: list[str]) -> list[str]:
    return [
        f"{block}.{name}.weight"
        for block in blocks
        for name, module in model.get_submodule(block).named_modules()
        if isinstance(module, (nn.Linear, Conv1D))
    ]


def rows(model: nn.Module, name: str, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.T if isinstance(model.get_submodule(name[: -len(".weight")]), Conv1D) else tensor


@every_family
@every_method
def test_every_linear_layer_of_the_blocks_is_pruned_and_nothing_else(family, method):
    model, blocks = family()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    found = prune_blocks(model, blocks, batches(), method, [0.5, 0.5])
    assert sorted(found.masks) == sorted(linears(model, blocks))
    for name, each in found.model.state_dict().items():
        if name in found.masks:
            assert not each[~found.masks[name]].any()
            share = found.masks[name].float().mean().item()
            assert share == 0.5
        else:
            assert torch.equal(each, before[name])
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


@every_family
def test_two_of_four_inputs_are_kept_whatever_way_the_weight_lies(family):
    model, blocks = family()
    found = prune_blocks(model, blocks, batches(1), by_wanda, [NOfM(2, 4), NOfM(1, 4)])
    for name, mask in found.masks.items():
        groups = rows(model, name, mask).unflatten(1, (-1, 4)).sum(2)
        assert (groups == (2 if name.startswith(blocks[0]) else 1)).all()


@every_family
def test_each_layer_is_calibrated_with_what_the_pruned_ones_before_it_send(family):
    model, blocks = family()
    data = batches()
    found = prune_blocks(model, blocks, data, by_sparsegpt(), [0.5, 0.5])
    name = linears(model, blocks)[-1]
    layer = name[: -len(".weight")]
    sent = walk.layer_inputs(found.model, [layer], data)[layer]
    weight = rows(model, name, model.get_parameter(name).detach())
    expected = sparsegpt(weight, input_statistics(sent), 0.5).weight
    close = rows(model, name, found.model.get_parameter(name))
    assert torch.allclose(close, expected, atol=1e-5)  # float32 statistics
    dense = walk.layer_inputs(model, [layer], data)[layer]
    assert not torch.allclose(
        close, sparsegpt(weight, input_statistics(dense), 0.5).weight, atol=1e-5
    )


def test_the_first_layer_is_calibrated_as_wanda_does_alone():
    model, blocks = llama()
    data = batches()
    found = prune_blocks(model, blocks, data, by_wanda, [0.5, 0.5])
    layer = "model.layers.0.self_attn.q_proj"
    sent = input_statistics(walk.layer_inputs(model, [layer], data)[layer])
    expected = wanda(model.get_submodule(layer).weight.detach(), sent, 0.5)
    assert torch.equal(found.masks[f"{layer}.weight"], expected.mask)


def test_batches_of_named_arguments_are_run_with_their_names():
    model, blocks = bert()
    tokens = batches(2)
    named = [{"input_ids": each, "attention_mask": torch.ones_like(each)} for each in tokens]
    plain = prune_blocks(model, blocks, tokens, by_wanda, [0.5, 0.5])
    found = prune_blocks(model, blocks, named, by_wanda, [0.5, 0.5])
    assert all(torch.equal(plain.masks[name], found.masks[name]) for name in plain.masks)


def test_the_exact_surgeon_prunes_a_block_too():
    model, blocks = gpt()
    found = prune_blocks(model, blocks[:1], batches(1), by_obc(), [0.5])
    assert all(mask.float().mean() == 0.5 for mask in found.masks.values())


def test_methods_that_see_inputs_beat_magnitude_on_the_logits():
    """In the mean over four networks with inputs of unequal size; for one nothing promises it."""
    errors = dict.fromkeys(METHODS, 0.0)
    for _ in range(4):
        model, blocks = llama()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "layernorm" in name:
                    parameter[:3] *= 10
        data, held_out = batches(8), torch.randint(0, 100, (16, 12))
        exact = model(held_out).logits
        for name, method in METHODS.items():
            pruned = prune_blocks(model, blocks, data, method, [0.6, 0.6]).model
            errors[name] += (pruned(held_out).logits - exact).square().mean().item()
    assert errors["wanda"] < errors["magnitude"]
    assert errors["sparsegpt"] < errors["wanda"]


def test_owl_gives_the_block_with_outliers_more_and_meets_the_budget():
    model, blocks = llama()
    with torch.no_grad():
        for module in model.model.layers[1].modules():
            if isinstance(module, nn.Linear):
                module.weight[:, 0] *= 50
    before = [p.clone() for p in model.parameters()]
    found = owl_patterns(model, blocks, batches(), 0.7)
    assert found == pytest.approx([0.78, 0.62])
    assert all(map(torch.equal, before, model.parameters()))
    masks = prune_blocks(model, blocks, batches(), by_wanda, found).masks
    kept = sum(int(mask.sum()) for mask in masks.values())
    total = sum(mask.numel() for mask in masks.values())
    assert kept / total == pytest.approx(0.3, abs=0.02)  # half a weight in each row of 32


def test_training_mode_and_hooks_are_left_alone():
    model, blocks = bert()
    model.train()
    found = prune_blocks(model, blocks, batches(1), by_wanda, [0.5, 0.5])
    owl_patterns(model, blocks, batches(1), 0.5)
    for each in (model, found.model):
        assert all(module.training for module in each.modules())
        assert not any(module._forward_pre_hooks for module in each.modules())


def test_tied_weights_are_refused_by_their_places():
    model, blocks = llama()
    inside = [model.get_submodule(block).mlp for block in blocks]
    inside[1].up_proj.weight = inside[0].up_proj.weight
    with pytest.raises(ValueError, match=r"several places: model\.layers\.0\.mlp\.up_proj\.weight"):
        prune_blocks(model, blocks, batches(1), by_wanda, [0.5, 0.5])


def test_what_cannot_be_pruned_is_refused_by_name():
    model, blocks = llama()
    with pytest.raises(ValueError, match="2 blocks and 0 batches"):
        prune_blocks(model, blocks, [], by_wanda, [0.5, 0.5])
    with pytest.raises(ValueError, match="1 patterns for 2 blocks"):
        prune_blocks(model, blocks, batches(1), by_wanda, [0.5])
    with pytest.raises(ValueError, match=r"'model\.norm' has no linear layer"):
        prune_blocks(model, ["model.norm"], batches(1), by_wanda, [0.5])
    with pytest.raises(ValueError, match=r"model\.layers\.0: self_attn\.q_proj: sparsity .* got 2"):
        prune_blocks(model, blocks, batches(1), by_wanda, [2.0, 0.5])
    with torch.no_grad():
        model.model.layers[0].input_layernorm.weight[0] = float("nan")
    with pytest.raises(ValueError, match=r"model\.layers\.0: self_attn\.q_proj.*inf or nan"):
        prune_blocks(model, blocks, batches(1), by_wanda, [0.5, 0.5])
