from functools import partial

import pytest
import torch

from reference.quantization.affine import Range, channel_range, fake_quantize, tensor_range
from reference.quantization.observers import (
    averaged,
    latest,
    observed_activation,
    observed_weight,
    widest,
)


def span(low, high):
    return Range(torch.tensor(low), torch.tensor(high))


def test_merges_follow_their_recurrences():
    seen, batch = span(-1.0, 2.0), span(-0.5, 4.0)
    assert widest(seen, batch) == span(-1.0, 4.0)
    assert latest(seen, batch) == batch
    low, high = averaged(seen, batch, momentum=0.75)
    assert low.item() == pytest.approx(0.75 * -1 + 0.25 * -0.5)
    assert high.item() == pytest.approx(0.75 * 2 + 0.25 * 4)


def test_widest_does_not_depend_on_the_order_of_batches_and_average_does():
    batches = [(1 + index) * torch.randn(50) for index in range(4)]
    ends = {}
    for merge in (widest, averaged):
        for name, order in (("forward", batches), ("back", batches[::-1])):
            observer = observed_activation(batches[:1], merge=merge)
            for batch in order:
                observer(batch)
            ends[merge, name] = (observer.low.item(), observer.high.item())
    assert ends[widest, "forward"] == ends[widest, "back"]
    assert ends[averaged, "forward"] != ends[averaged, "back"]


def test_observer_begins_with_the_calibrated_range():
    batches = [torch.randn(20), torch.randn(20)]
    observer = observed_activation(batches, bits=4)
    whole = tensor_range(torch.cat(batches))
    assert (observer.low, observer.high) == (whole.low, whole.high)
    assert observer.grid().qmax == 15


def test_only_training_batches_are_measured():
    observer = observed_activation([torch.rand(10)], merge=widest).eval()
    before = observer.grid()
    observer(100 * torch.randn(10))
    assert observer.grid() == before
    observer.train()(100 * torch.ones(10))
    assert observer.high == 100


def test_frozen_observer_keeps_its_grid_to_the_last_bit():
    observer = observed_activation([torch.rand(10)], bits=4)
    observer.freeze_(True)
    before = observer.grid()
    for _ in range(3):
        observer(torch.randn(10))
    assert observer.grid() == before
    observer.freeze_(False)
    observer(10 * torch.randn(10))
    assert observer.grid() != before


def test_weight_grid_is_always_that_of_the_present_weights():
    observer = observed_weight(torch.randn(4, 6), bits=3)
    weight = 5 * torch.randn(4, 6)
    rounded = observer(weight)
    expected = channel_range(weight)
    assert torch.equal(observer.low, expected.low)
    assert torch.equal(observer.high, expected.high)
    assert torch.equal(rounded, fake_quantize(weight, observer.grid()))


def test_range_is_part_of_the_state_and_no_parameter():
    observer = observed_activation([torch.rand(10)])
    assert set(observer.state_dict()) == {"low", "high"}
    assert not list(observer.parameters())


def test_measuring_keeps_no_graph():
    observer = observed_activation([torch.rand(10)])
    x = torch.randn(10, requires_grad=True)
    observer(x).sum().backward()
    observer(x).sum().backward()
    assert not observer.low.requires_grad


def test_bad_widths_values_and_momenta_are_refused():
    with pytest.raises(ValueError, match="bits"):
        observed_activation([torch.rand(5)], bits=1)
    with pytest.raises(ValueError, match="inf or nan"):
        observed_weight(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ValueError, match="at least one batch"):
        observed_activation([])
    observer = observed_activation([torch.rand(5)], merge=partial(averaged, momentum=1.0))
    with pytest.raises(ValueError, match="momentum must be in"):
        observer(torch.rand(5))
