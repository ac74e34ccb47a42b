import pytest
import torch
from gradient_nets import chain, loss_of, vectors
from torch import nn

from reference.pruning.gradient.controls import reinitialised, shuffle_report, shuffled_scores
from reference.pruning.gradient.snip import snip_scores
from reference.pruning.masks import global_masks


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chosen():
    model = chain([8, 10, 4])
    return snip_scores(model, vectors(8, 4), loss_of)


def test_shuffled_scores_leave_every_layer_its_count_and_not_its_places():
    scores = chosen()
    before, after = (
        global_masks(each, 0.7) for each in (scores, shuffled_scores(scores, generator()))
    )
    assert [int(m.sum()) for m in before.values()] == [int(m.sum()) for m in after.values()]
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(
        torch.equal(a.flatten().sort().values, b.flatten().sort().values)
        for a, b in zip(scores.values(), shuffled_scores(scores, generator()).values(), strict=True)
    )


def test_a_new_initialisation_has_the_same_mask_and_other_weights():
    masks = global_masks(chosen(), 0.7)
    state = torch.get_rng_state()
    one = reinitialised(masks, lambda: chain([8, 10, 4]), generator())
    again = reinitialised(masks, lambda: chain([8, 10, 4]), generator())
    other = reinitialised(masks, lambda: chain([8, 10, 4]), generator(1))
    assert torch.equal(torch.get_rng_state(), state)
    for name, mask in masks.items():
        assert torch.equal(one.get_parameter(name) != 0, mask)
        assert torch.equal(one.get_parameter(name), again.get_parameter(name))
        assert not torch.equal(one.get_parameter(name), other.get_parameter(name))


def test_a_new_initialisation_of_another_network_is_refused():
    with pytest.raises(ValueError, match=r"shape \(10, 8\), the parameter \(9, 8\)"):
        reinitialised(global_masks(chosen(), 0.7), lambda: chain([8, 9, 4]), generator())
    with pytest.raises(ValueError, match=r"no parameter '0\.weight'"):
        reinitialised(global_masks(chosen(), 0.7), nn.Identity, generator())


def test_a_measure_of_densities_alone_sees_no_gap():
    masks = global_masks(chosen(), 0.7)
    report = shuffle_report(masks, lambda m: float(m["0.weight"].sum()), generator(), draws=3)
    assert len(report.shuffled) == 3
    assert report.gap == 0


def test_a_measure_of_the_choice_sees_one():
    scores = chosen()
    masks = global_masks(scores, 0.7)

    def kept(m):
        return sum(float(scores[name][each].sum()) for name, each in m.items())

    report = shuffle_report(masks, kept, generator())
    assert report.chosen > max(report.shuffled)
    assert report.gap == pytest.approx(report.chosen - sum(report.shuffled) / 5)


def test_no_draw_is_refused():
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        shuffle_report({}, lambda _: 0.0, generator(), draws=0)
