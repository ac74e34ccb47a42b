import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.quantization.affine import Range, asymmetric_grid, fake_quantize, symmetric_grid
from reference.quantization.ste import clipped_ste, identity_ste, sign_ste, straight_through

GRIDS = [
    asymmetric_grid(Range(torch.tensor(-1.0), torch.tensor(2.0)), bits=3),
    symmetric_grid(Range(torch.tensor(-1.5), torch.tensor(1.0)), bits=4),
]
every_grid = pytest.mark.parametrize("grid", GRIDS)


def gradient_of(function, x, upstream):
    x = x.clone().requires_grad_()
    function(x).backward(upstream)
    return x.grad


@every_grid
@pytest.mark.parametrize("estimator", [identity_ste, clipped_ste])
def test_forward_is_rounding_to_the_last_bit(estimator, grid):
    x = 2 * torch.randn(1000)
    assert torch.equal(estimator(x, grid), fake_quantize(x, grid))


@every_grid
def test_identity_gives_every_value_the_whole_gradient(grid):
    x, upstream = 10 * torch.randn(1000), torch.randn(1000)
    assert torch.equal(gradient_of(lambda x: identity_ste(x, grid), x, upstream), upstream)


@every_grid
@given(seed=st.integers(0, 10_000), spread=st.floats(0.1, 10))
def test_clipped_has_the_gradient_of_its_surrogate(grid, seed, spread):
    draw = torch.Generator().manual_seed(seed)
    x, upstream = spread * torch.randn(200, generator=draw), torch.randn(200, generator=draw)
    low, high = ((end - grid.zero_point) * grid.scale for end in (grid.qmin, grid.qmax))
    surrogate = gradient_of(lambda x: x.clamp(low, high), x, upstream)
    assert torch.equal(gradient_of(lambda x: clipped_ste(x, grid), x, upstream), surrogate)


def test_clipped_counts_the_ends_of_the_grid_as_inside():
    """Half a step further out the code is still the last one, but the surrogate is flat."""
    grid = symmetric_grid(Range(torch.tensor(-7.0), torch.tensor(7.0)), bits=4)  # step 1
    x = torch.tensor([-7.25, -7.0, 0.0, 7.0, 7.25])
    gradient = gradient_of(lambda x: clipped_ste(x, grid), x, torch.ones(5))
    assert gradient.tolist() == [0, 1, 1, 1, 0]


def test_sign_is_never_zero_and_passes_the_gradient_between_minus_one_and_one():
    x = torch.tensor([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5])
    assert sign_ste(x).tolist() == [-1, -1, -1, 1, 1, 1, 1]
    assert gradient_of(sign_ste, x, torch.full((7,), 3.0)).tolist() == [0, 3, 3, 3, 3, 3, 0]


def test_replacement_gets_no_gradient():
    x, other = torch.randn(5, requires_grad=True), torch.randn(5, requires_grad=True)
    straight_through(x, other).sum().backward()
    assert x.grad is not None
    assert other.grad is None


@every_grid
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_is_kept_forward_and_backward(grid, dtype):
    x = torch.randn(4, 6, dtype=dtype).t().requires_grad_()
    for estimate in (identity_ste(x, grid), clipped_ste(x, grid), sign_ste(x)):
        assert estimate.dtype == dtype
        (gradient,) = torch.autograd.grad(estimate.sum(), x)
        assert gradient.dtype == dtype


@pytest.mark.parametrize("estimator", [identity_ste, clipped_ste])
def test_bad_values_are_refused(estimator):
    with pytest.raises(ValueError, match="inf or nan"):
        estimator(torch.tensor([1.0, float("inf")]), GRIDS[0])
    with pytest.raises(ValueError, match="has no values"):
        estimator(torch.zeros(0), GRIDS[0])
