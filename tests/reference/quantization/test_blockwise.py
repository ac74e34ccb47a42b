import pytest
import torch
from torch import nn

from labkit.models import GptSpec, LlamaSpec, build
from reference import walk
from reference.quantization.awq import AwqConfig
from reference.quantization.blockwise import (
    quantize_blocks,
    round_awq,
    round_gptq,
    round_nearest,
)
from reference.quantization.gptq import GptqConfig, gptq
from reference.quantization.packed_weight import WeightOnlyConfig
from reference.quantization.scaling import LLAMA, fold_scale_, foldable_places
from reference.quantization.weight_only import round_weights
from reference.statistics import input_statistics

CONFIG = WeightOnlyConfig(4, 16)
BLOCKS = ["model.layers.0", "model.layers.1"]
METHODS = {
    "nearest": round_nearest(CONFIG),
    "gptq": round_gptq(GptqConfig(CONFIG)),
    "awq": round_awq(AwqConfig(CONFIG)),
}


def llama(kv_heads: int = 2) -> nn.Module:
    spec = LlamaSpec(width=32, depth=2, heads=4, kv_heads=kv_heads, ffn=48, context=32)
    return build(spec).eval()


def batches(count: int = 3) -> list[torch.Tensor]:
    return list(torch.randint(0, 100, (count, 4, 12)))


def linears(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: layer.weight for n, layer in walk.named_layers(model).items() if "layers" in n}


def test_nearest_block_by_block_is_nearest_all_at_once():
    model = llama()
    by_block = quantize_blocks(model, BLOCKS, batches(), METHODS["nearest"])
    at_once = round_weights(model, CONFIG, keep=["lm_head"])
    assert all(map(torch.equal, linears(by_block).values(), linears(at_once).values()))


@pytest.mark.parametrize("method", METHODS)
def test_every_linear_layer_of_the_blocks_is_rounded_and_nothing_else(method):
    model = llama()
    rounded = quantize_blocks(model, BLOCKS, batches(), METHODS[method])
    changed = {
        name
        for (name, old), new in zip(
            model.state_dict().items(), rounded.state_dict().values(), strict=True
        )
        if not torch.equal(old, new)
    }
    assert changed == {f"{name}.weight" for name in linears(model)}


def test_each_layer_is_calibrated_with_what_the_rounded_ones_before_it_send():
    model, data = llama(), batches()
    rounded = quantize_blocks(model, BLOCKS, data, METHODS["gptq"])
    name = "model.layers.1.self_attn.o_proj"
    sent = walk.layer_inputs(rounded, [name], data)[name]
    weight = model.get_submodule(name).weight.detach()
    expected = gptq(weight, input_statistics(sent), GptqConfig(CONFIG)).weight
    assert torch.allclose(rounded.get_submodule(name).weight, expected, atol=1e-6)


def test_layers_that_read_one_tensor_are_rounded_together():
    seen = []

    def record(weights, _):
        seen.append([tuple(weight.shape) for weight in weights])
        return weights

    quantize_blocks(llama(), BLOCKS[:1], batches(1), record)
    query_key_value, output = [(32, 32), (16, 32), (16, 32)], [(32, 32)]
    gate_up, down = [(48, 32), (48, 32)], [(32, 48)]
    assert seen == [query_key_value, output, gate_up, down]


def test_methods_that_see_inputs_beat_nearest_on_the_logits():
    """In the mean over five networks; for one alone nothing promises it."""
    errors = dict.fromkeys(METHODS, 0.0)
    for _ in range(5):
        model, data = llama(), batches(8)
        held_out = torch.randint(0, 100, (16, 12))
        exact = model(held_out).logits
        for method, round_group in METHODS.items():
            rounded = quantize_blocks(model, BLOCKS, data, round_group)
            errors[method] += (rounded(held_out).logits - exact).square().mean().item()
    assert errors["gptq"] < errors["nearest"]
    assert errors["awq"] < errors["nearest"]


def test_a_layout_without_linear_layers_is_refused_by_name():
    spec = GptSpec(width=32, depth=1, heads=2, context=32)
    with pytest.raises(ValueError, match=r"'transformer\.h\.0' has no linear layer"):
        quantize_blocks(build(spec), ["transformer.h.0"], batches(), METHODS["nearest"])


def test_a_network_of_plain_modules_works_too():
    model = nn.Sequential(nn.Sequential(nn.Linear(16, 16), nn.ReLU()), nn.Linear(16, 16))
    rounded = quantize_blocks(model, ["0", "1"], [torch.randn(9, 16)], METHODS["gptq"])
    assert not torch.equal(rounded[1].weight, model[1].weight)


def test_layers_that_cannot_be_rounded_are_named():
    with pytest.raises(ValueError, match=r"model\.layers\.0: self_attn\.q_proj.*groups of 20"):
        round_group = round_gptq(GptqConfig(WeightOnlyConfig(4, 20)))
        quantize_blocks(llama(), BLOCKS, batches(), round_group)
    with pytest.raises(ValueError, match="0 batches"):
        quantize_blocks(llama(), BLOCKS, [], METHODS["nearest"])


def test_a_layer_that_is_never_reached_is_named():
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(16, 16), nn.Linear(16, 16)

        def forward(self, x):
            return self.used(x)

    with pytest.raises(ValueError, match="no batch reaches idle"):
        model = nn.Sequential(Idle())
        quantize_blocks(model, ["0"], [torch.randn(2, 16)], METHODS["nearest"])


@pytest.mark.parametrize("kv_heads", [2, 4])
def test_folding_a_scale_changes_no_logits(kv_heads):
    model, tokens = llama(kv_heads), batches(1)[0]
    before = model(tokens).logits
    block = model.model.layers[0]
    places = foldable_places(block)
    assert len(places) == (4 if kv_heads == 4 else 3)  # shared values cannot be scaled apart
    for place in places:
        width = block.get_submodule(place.readers[0]).in_features
        fold_scale_(block, place, torch.rand(width) + 0.5)
    assert torch.allclose(model(tokens).logits, before, atol=1e-5)


def test_folding_into_a_norm_moves_its_bias_too():
    block = nn.ModuleDict({"norm": nn.LayerNorm(8), "linear": nn.Linear(8, 4)})
    nn.init.normal_(block["norm"].bias)
    x = torch.randn(3, 8)
    before = block["linear"](block["norm"](x))
    place = LLAMA[0]._replace(maker="norm", readers=("linear",))
    fold_scale_(block, place, torch.rand(8) + 0.5)
    assert torch.allclose(block["linear"](block["norm"](x)), before, atol=1e-6)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_cannot_be_divided_by_is_refused(bad):
    block = llama().model.layers[0]
    with pytest.raises(ValueError, match="above zero and finite"):
        fold_scale_(block, LLAMA[0], torch.full((32,), bad))
    with pytest.raises(ValueError, match="5 scales for 'input_layernorm'"):
        fold_scale_(block, LLAMA[0], torch.ones(5))
