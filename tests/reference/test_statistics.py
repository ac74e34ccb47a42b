import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.statistics import input_statistics, matching


@given(st.integers(0, 1000), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_batches_of_any_size_give_the_statistics_of_all_tokens(seed, sizes):
    x = torch.randn(sum(sizes), 6, generator=torch.Generator().manual_seed(seed)).double()
    found = input_statistics(x.split(sizes))
    assert found.tokens == len(x)
    assert torch.allclose(found.gram, x.T @ x / len(x), atol=1e-13)
    assert torch.allclose(found.mean_abs, x.abs().mean(0), atol=1e-13)
    assert torch.equal(found.max_abs, x.abs().amax(0))


def test_output_error_is_that_of_the_outputs():
    x, change = torch.randn(50, 8).double(), torch.randn(3, 8).double()
    error = input_statistics([x]).output_error(change)
    assert torch.allclose(error, (x @ change.T).square().mean(0), atol=1e-12)


def test_sentences_and_one_token_are_rows():
    x = torch.randn(2, 5, 4)
    assert torch.equal(input_statistics([x]).gram, input_statistics([x.flatten(0, 1)]).gram)
    assert input_statistics([x[0, 0]]).tokens == 1


def test_half_precision_is_summed_in_float32():
    x = torch.full((4096, 2), 16.0, dtype=torch.float16)
    assert torch.equal(input_statistics([x]).gram, torch.full((2, 2), 256.0))


@pytest.mark.parametrize(
    ("batches", "told"),
    [
        ([], "at least one batch"),
        ([torch.empty(0, 4)], "no values"),
        ([torch.tensor([[1.0, torch.nan]])], "inf or nan"),
        ([torch.randn(3, 4), torch.randn(3, 5)], "4 features, another 5"),
        ([torch.full((2, 2), 1e30)], "squares that are not finite"),
    ],
)
def test_inputs_that_say_nothing_are_refused(batches, told):
    with pytest.raises(ValueError, match=told):
        input_statistics(batches)


def test_a_weight_that_reads_other_inputs_is_refused():
    inputs = input_statistics([torch.randn(5, 4)])
    with pytest.raises(ValueError, match=r"\(3, 5\) does not read 4 inputs"):
        matching(torch.randn(3, 5), inputs)
