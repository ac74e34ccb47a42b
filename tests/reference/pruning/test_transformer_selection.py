import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.pruning.structured.selection import even, kept_mask, overall, rounded


@given(st.integers(1, 200), st.integers(1, 32), st.data())
def test_a_rounded_count_is_the_nearest_multiple_that_fits(size, multiple, data):
    kept = data.draw(st.integers(1, size))
    found = rounded(kept, size, multiple)
    if kept == size or size < multiple:
        assert found == size
    else:
        multiples = range(multiple, size + 1, multiple)
        assert found in multiples
        assert abs(found - kept) == min(abs(each - kept) for each in multiples)


@given(st.integers(2, 60), st.floats(0, 1))
def test_the_kept_are_the_best_and_as_many_as_the_share_says(size, sparsity):
    scores = torch.randperm(size).float()
    removed = int(sparsity * size + 0.5)
    if removed == size:
        with pytest.raises(ValueError, match="remove the layer instead"):
            kept_mask(scores, sparsity)
        return
    mask = kept_mask(scores, sparsity)
    assert int((~mask).sum()) == removed
    assert removed == 0 or scores[~mask].max() < scores[mask].min()


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.floats(0, 1))
def test_over_all_layers_the_count_is_exact_and_no_layer_is_emptied(layers, sparsity):
    scores = {str(i): torch.rand(n) + 10 * i for i, n in enumerate(layers)}
    removed = int(sparsity * sum(layers) + 0.5)
    if removed > sum(layers) - len(layers):
        with pytest.raises(ValueError, match=f"at most {sum(layers) - len(layers)} can go"):
            overall(scores, sparsity)
        return
    masks = overall(scores, sparsity)
    assert sum(int((~mask).sum()) for mask in masks.values()) == removed
    for name, mask in masks.items():
        assert mask[scores[name].argmax()]


def test_a_weak_layer_loses_more_when_all_are_compared_but_not_when_each_is_by_itself():
    scores = {"weak": torch.arange(8.0), "strong": torch.arange(8.0) + 100}
    kept = {name: int(mask.sum()) for name, mask in overall(scores, 0.25).items()}
    assert kept == {"weak": 4, "strong": 8}
    assert [int(mask.sum()) for mask in even(scores, 0.25).values()] == [6, 6]


def test_counts_are_rounded_in_every_layer():
    scores = {"a": torch.rand(64), "b": torch.rand(40), "c": torch.rand(6)}
    assert [int(m.sum()) for m in even(scores, 0.4, multiple=8).values()] == [40, 24, 6]
    assert all(int(m.sum()) % 8 == 0 for n, m in overall(scores, 0.5, 8).items() if n != "c")
    assert all(mask.all() for mask in even(scores, 0.0, multiple=16).values())


def test_a_multiple_below_one_is_refused():
    with pytest.raises(ValueError, match="multiple must be at least 1, got 0"):
        kept_mask(torch.rand(4), 0.5, 0)


def test_a_sparsity_outside_0_and_1_is_refused():
    with pytest.raises(ValueError, match=r"sparsity must be within 0 and 1, got 1\.5"):
        even({"a": torch.rand(4)}, 1.5)
