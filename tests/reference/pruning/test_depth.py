import itertools
import math

import pytest
import torch
from transformer_zoo import NAMES, Sizes, batch, logits, loss_of, net

from reference.pruning.structured.architecture import architecture
from reference.pruning.structured.depth import (
    angular_distance,
    block_influence,
    evenly_spaced,
    greedy,
    least_distant,
    least_influential,
    skipped,
)
from reference.pruning.structured.remove_transformer import remove_layers

PRE_NORM = ("vit", "gpt2", "llama", "text")


def with_identity(family, layer, depth=3):
    """A layer that writes nothing to the stream."""
    model = net(Sizes(family, depth=depth))
    with torch.no_grad():
        for name in architecture(model).blocks[layer].writers:
            for each in model.get_submodule(name).parameters():
                each.zero_()
    return model


@pytest.mark.parametrize("family", PRE_NORM)
def test_removing_an_identity_costs_nothing_and_every_criterion_finds_it(family):
    model, given = with_identity(family, 1), batch(family)
    assert torch.equal(logits(remove_layers(model, [1]), given), logits(model, given))
    influence = block_influence(model, [given])
    assert abs(float(influence[1])) < 1e-12  # cos of a vector with itself, float64
    assert least_influential(influence, 1) == (1,)
    assert least_distant(angular_distance(model, [given], 1), 3) == (1,)
    (removal,) = greedy(model, loss_of, [given], 1)
    whole = float(loss_of(model, given).detach())
    assert removal.loss <= whole


@pytest.mark.parametrize("family", NAMES)
def test_influence_and_distance_are_those_of_the_recorded_stream(family):
    model, given = net(Sizes(family, depth=3)), batch(family)
    stream = []
    blocks = [model.get_submodule(block.name) for block in architecture(model).blocks]
    handles = [
        blocks[0].register_forward_hook(lambda _, entering, leaving: stream.append(entering[0]))
    ]
    handles += [
        block.register_forward_hook(lambda _, entering, leaving: stream.append(leaving))
        for block in blocks
    ]
    logits(model, given)
    for handle in handles:
        handle.remove()
    stands = given.get("attention_mask", torch.ones(stream[0].shape[:2])).bool()
    rows = [each[stands] for each in stream]

    def cosines(before, after):
        return [float(a @ b / (a.norm() * b.norm())) for a, b in zip(before, after, strict=True)]

    expected = [1 - sum(c) / len(c) for c in itertools.starmap(cosines, itertools.pairwise(rows))]
    assert block_influence(model, [given]).tolist() == pytest.approx(expected, abs=1e-12)
    for span in (1, 2, 3):
        pairs = zip(rows[:-span], rows[span:], strict=True)
        angles = [[math.acos(c) / math.pi for c in cosines(*pair)] for pair in pairs]
        found = angular_distance(model, [given], span)
        assert found.tolist() == pytest.approx([sum(a) / len(a) for a in angles], abs=1e-9)


@pytest.mark.parametrize("family", ["vit", "gpt2"])
def test_a_layer_that_turns_the_stream_round_has_influence_two(family):
    model = net(Sizes(family, depth=1))
    block = model.get_submodule(architecture(model).blocks[0].name)
    block.register_forward_hook(lambda _, entering, leaving: -entering[0])
    given = [batch(family)]
    assert float(block_influence(model, given)[0]) == pytest.approx(2)
    assert float(angular_distance(model, given, 1)[0]) == pytest.approx(1)


def test_influence_does_not_change_with_the_size_of_the_stream():
    """ShortGPT's reason for a cosine: later layers have longer vectors."""
    model, given = net(Sizes("gpt2", depth=1)), [batch("gpt2")]
    expected = block_influence(model, given)
    handle = model.transformer.h[0].register_forward_hook(lambda _, entering, leaving: 7 * leaving)
    torch.testing.assert_close(block_influence(model, given), expected)
    handle.remove()


@pytest.mark.parametrize("family", NAMES)
def test_greedy_removes_at_each_step_the_layer_whose_removal_leaves_the_lowest_loss(family):
    model, batches = net(Sizes(family, depth=4)), [batch(family, seed=s) for s in (1, 2)]
    found = greedy(model, loss_of, batches, 3)
    gone = []
    for step in found:
        left = [layer for layer in range(4) if layer not in gone]
        with torch.no_grad():
            losses = {
                layer: sum(
                    float(loss_of(remove_layers(model, [*gone, layer]), each)) for each in batches
                ) / 2
                for layer in left
            }  # fmt: skip
        assert step.layer == min(losses, key=losses.__getitem__)
        assert step.loss == pytest.approx(losses[step.layer])
        gone.append(step.layer)


def test_layers_at_equal_distances():
    assert evenly_spaced(6, 3) == (1, 3, 5)
    assert evenly_spaced(12, 4) == (1, 4, 7, 10)
    assert evenly_spaced(5, 0) == ()
    for depth, count in itertools.product(range(1, 20), range(19)):
        if count < depth:
            found = evenly_spaced(depth, count)
            gaps = [b - a for a, b in itertools.pairwise(found)]
            assert len(set(found)) == count
            assert max(gaps, default=0) - min(gaps, default=0) <= 1
            assert all(0 <= layer < depth for layer in found)


def test_the_lowest_go_and_of_equals_the_first():
    influence = torch.tensor([0.3, 0.1, 0.2, 0.1])
    assert least_influential(influence, 2) == (1, 3)
    assert least_influential(influence, 1) == (1,)
    assert least_distant(torch.tensor([0.5, 0.2, 0.4]), depth=4) == (1, 2)


def test_skipping_ends_with_the_context_and_looking_changes_no_mode():
    model, given = net("bert").train(), batch("bert")
    block_influence(model, [given])
    assert model.training
    model.eval()
    expected = logits(model, given)
    with skipped(model, [0, 1]):
        assert not torch.equal(logits(model, given), expected)
    assert torch.equal(logits(model, given), expected)


def test_bad_counts_spans_and_empty_calibration_are_refused():
    model, given = net("vit"), [batch("vit")]
    with pytest.raises(ValueError, match="span must be within 1 and the depth 2, got 3"):
        angular_distance(model, given, 3)
    with pytest.raises(ValueError, match="count must be within 0 and 1 of 2 layers, got 2"):
        greedy(model, loss_of, given, 2)
    with pytest.raises(ValueError, match="count must be within 0 and 3 of 4 layers, got 4"):
        evenly_spaced(4, 4)
    with pytest.raises(ValueError, match="count must be within 0 and 1 of 2 layers, got 2"):
        least_influential(torch.rand(2), 2)
    with pytest.raises(ValueError, match="at least one batch, got none"):
        block_influence(model, [])
    with pytest.raises(ValueError, match="at least one batch, got none"):
        greedy(model, loss_of, [], 1)
    with (
        pytest.raises(ValueError, match="there is no layer 5 in a model of 2"),
        skipped(model, [5]),
    ):
        pass
