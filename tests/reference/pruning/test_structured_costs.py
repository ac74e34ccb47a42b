import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from labkit.models import EfficientNetLiteSpec, ResNetSpec, build
from reference.pruning.structured.channels import by_group
from reference.pruning.structured.costs import LayerCost, costs
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.importance import filter_norms
from reference.pruning.structured.remove import remove


def test_a_convolution_costs_its_weights_at_every_place():
    model = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(8))
    found = costs(model, torch.ones(5, 6, 32, 32))
    assert found.layers == {"0": LayerCost(16 * 16 * 8 * 3 * 9, 8 * 3 * 9 + 8)}
    assert found.parameters == 8 * 3 * 9 + 8 + 16


def test_a_linear_layer_costs_its_weights_at_every_token_and_call():
    layer = nn.Linear(4, 4)
    found = costs(nn.Sequential(layer, layer), torch.ones(2, 7, 4))
    assert found.macs == 2 * 7 * 16
    assert found.parameters == 20


@pytest.mark.parametrize("spec", [ResNetSpec(width=8), EfficientNetLiteSpec(width=0.25, depth=0.5)])
def test_networks_cost_half_the_flops_that_pytorch_counts(spec):
    model = build(spec).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.ones(3, 3, 32, 32))
    found = costs(model, torch.ones(3, 3, 32, 32))
    assert 2 * 3 * found.macs == counter.get_total_flops()
    assert found.parameters == sum(each.numel() for each in model.parameters())


def test_half_the_channels_are_a_quarter_of_the_inner_layers_and_half_of_the_outer():
    model, x = build(ResNetSpec(width=8)).eval(), torch.ones(1, 3, 32, 32)
    graph = dependency_graph(model, x)
    pruned = remove(model, graph, by_group(graph, filter_norms(model, graph), 0.5))
    before, after = costs(model, x).layers, costs(pruned, x).layers
    shares = {name: after[name].macs / before[name].macs for name in before}
    outer = {name for name, share in shares.items() if share == 0.5}
    assert outer == {"stem.conv", "head"}
    assert all(share == 0.25 for name, share in shares.items() if name not in outer)


def test_arguments_by_name_and_dropout_are_no_matter():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Sequential(nn.Dropout(), nn.Linear(4, 3))

        def forward(self, x):
            return self.layer(x)

    model = Named().train()
    state = torch.get_rng_state()
    assert costs(model, {"x": torch.ones(2, 4)}).macs == 12
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_an_empty_batch_has_no_cost_for_each_example():
    with pytest.raises(ValueError, match="the batch has none"):
        costs(nn.Linear(2, 2), torch.ones(0, 2))
