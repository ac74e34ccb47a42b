"""Claims about pruned networks that come back from a file with nothing but their tensors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import BLOCKS, HEADS, images, network
from safetensors.torch import load_file, save_file
from torch import nn

from labkit.models import ResNetSpec, build
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.pruned_state import with_pruned_state
from reference.pruning.structured.remove import remove


def halved(model, x, seed=0):
    graph, draws = dependency_graph(model, x), torch.Generator().manual_seed(seed)
    masks = {}
    for name, group in graph.groups.items():
        masks[name] = torch.rand(group.size, generator=draws) > 0.5
        masks[name][0] = True
    return remove(model, graph, masks)


def sizes(model):
    """All that modules say of themselves."""
    return repr(model)


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=3),
    st.sampled_from(sorted(HEADS)),
    st.integers(0, 99),
)
def test_any_pruned_network_is_read_back_bit_for_bit(blocks, head, seed):
    x = images()
    pruned = halved(network(blocks, head, seed), x, seed)
    found = with_pruned_state(network(blocks, head, seed + 1), pruned.state_dict())
    assert torch.equal(found(x), pruned(x))
    assert sizes(found) == sizes(pruned)


def test_a_pruned_resnet_comes_back_from_a_file(tmp_path):
    x = torch.randn(2, 3, 32, 32)
    pruned = halved(build(ResNetSpec(width=8)).eval(), x)
    save_file(pruned.state_dict(), tmp_path / "pruned.safetensors")
    found = with_pruned_state(
        build(ResNetSpec(width=8)).eval(), load_file(tmp_path / "pruned.safetensors")
    )
    assert torch.equal(found(x), pruned(x))
    assert sizes(found) == sizes(pruned)
    found(x).sum().backward()
    assert all(each.grad is not None for each in found.parameters())


def test_the_model_keeps_its_sizes_and_the_state_its_tensors():
    model, x = network(["residual"], "mean"), images()
    before, state = sizes(model), halved(model, x).state_dict()
    found = with_pruned_state(model, state)
    with torch.no_grad():
        next(found.parameters()).zero_()
    assert sizes(model) == before
    assert next(iter(state.values())).any()


def test_frozen_weights_stay_frozen_and_the_dtype_is_the_file_s():
    model = network(["conv"], "mean")
    model[0][0].weight.requires_grad_(False)
    state = {name: each.half() for name, each in model.state_dict().items() if each.ndim}
    state |= {name: each for name, each in model.state_dict().items() if not each.ndim}
    found = with_pruned_state(model, state)
    assert [p.requires_grad for p in found.parameters()][:2] == [False, True]
    assert {each.dtype for each in found.parameters()} == {torch.float16}


def tied():
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    second.weight = first.weight
    return nn.Sequential(nn.Linear(4, 6), first, second, nn.Linear(6, 2))


@pytest.mark.parametrize("left_out", [[], ["1.weight"], ["2.weight"]])
def test_ties_stay_ties_under_any_of_their_names(left_out):
    x = torch.randn(3, 4)
    pruned = halved(tied(), x)
    state = {name: each for name, each in pruned.state_dict().items() if name not in left_out}
    found = with_pruned_state(tied(), state)
    assert found[1].weight is found[2].weight
    assert torch.equal(found(x), pruned(x))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"9.weight": torch.ones(1)}, r"'9\.weight' is in the state and not in Sequential"),
        ({"0.weight": None}, r"the state lacks '0\.weight'"),
        ({"2.weight": torch.ones(6, 6)}, r"1\.weight and 2\.weight are tied"),
        ({"0.weight": torch.ones(7, 4)}, r"'0\.weight' is .*\(6, 4\) before pruning, and .*\(7, 4"),
        ({"0.weight": torch.ones(6)}, r"shape \(6,\) in the state"),
        ({"0.weight": torch.ones(6, 4).long()}, r"torch\.int64"),
    ],
)
def test_states_of_other_models_are_refused(change, told):
    state = {**tied().state_dict(), **change}
    state = {name: each for name, each in state.items() if each is not None}
    with pytest.raises(ValueError, match=told):
        with_pruned_state(tied(), state)
