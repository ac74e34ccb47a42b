from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import images, resnet
from torch import nn

from reference.quantization.affine import asymmetric_grid, fake_quantize, tensor_range
from reference.quantization.codebook import (
    Codebook,
    assign,
    centroid_gradient,
    cluster,
    cluster_model,
    density_start,
    linear_start,
    look_up,
    random_start,
)

STARTS = [linear_start, density_start, random_start, partial(random_start, seed=3)]
every_start = pytest.mark.parametrize("start", STARTS)


def gaussian(count: int = 100_001) -> torch.Tensor:
    """Evenly spaced quantiles of a standard normal: a sample without sampling noise."""
    return torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)


def error(values: torch.Tensor, codebook: Codebook) -> float:
    return (values - look_up(codebook)).square().mean().item()


@every_start
@pytest.mark.parametrize(
    ("bits", "expected"), [(1, 0.36338), (2, 0.11748), (3, 0.03455), (4, 0.00950)]
)
def test_gaussian_reaches_the_error_of_lloyd_and_max(start, bits, expected):
    """Max 1960, table I; a Gaussian has one optimum, so every start ends there."""
    values = gaussian()
    found = error(values, cluster(values, bits, start, max_steps=5000))
    # a start drawn from the centre creeps outward, and 100 001 quantiles stand for the tail
    assert found == pytest.approx(expected, rel=5e-3)


def test_two_levels_of_a_gaussian_are_its_mean_magnitude():
    centroids = cluster(gaussian(), 1).centroids
    assert centroids.tolist() == pytest.approx(
        [-((2 / torch.pi) ** 0.5), (2 / torch.pi) ** 0.5], rel=1e-4
    )


@every_start
@given(seed=st.integers(0, 10_000), bits=st.integers(1, 5))
def test_each_weight_has_its_nearest_centroid_and_each_centroid_the_mean_of_its_weights(
    start, seed, bits
):
    weight = torch.randn(12, 9, generator=torch.Generator().manual_seed(seed)).double() ** 3
    centroids, codes = cluster(weight, bits, start)
    distances = (weight.unsqueeze(-1) - centroids).abs()
    chosen = distances.gather(-1, codes.long().unsqueeze(-1)).squeeze(-1)
    assert (chosen <= distances.amin(-1) + 1e-12).all()
    for code in codes.unique().tolist():
        mean = weight[codes == code].mean()
        assert centroids[code].item() == pytest.approx(mean.item(), rel=1e-9, abs=1e-12)


@every_start
def test_more_steps_never_raise_the_error(start):
    values = torch.randn(500).double() ** 3
    errors = [error(values, cluster(values, 3, start, steps)) for steps in range(12)]
    assert all(after <= before + 1e-15 for before, after in pairwise(errors))


def test_few_distinct_values_are_kept_exactly():
    weight = torch.tensor([0.1, -3.0, 0.1, 7.0, -3.0, 2.5])
    assert torch.equal(look_up(cluster(weight, 2)), weight)
    assert torch.equal(look_up(cluster(torch.full((5,), 1.5), 4)), torch.full((5,), 1.5))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_codebook_from_the_values_of_a_grid_is_never_worse_than_the_grid(bits):
    """Lloyd's steps lower the error of whatever start they are given."""
    weight = torch.randn(2000).double()
    grid = asymmetric_grid(tensor_range(weight), bits)
    on_grid = fake_quantize(weight, grid)

    def start(values, k):
        return (torch.arange(k) - grid.zero_point) * grid.scale

    assert error(weight, cluster(weight, bits, start)) < (weight - on_grid).square().mean()


def test_ties_go_down_and_outer_values_to_the_outermost_centroid():
    centroids = torch.tensor([-1.0, 0.0, 4.0])
    assert assign(torch.tensor([-9.0, -0.5, 2.0, 2.1, 50.0]), centroids).tolist() == [0, 0, 1, 2, 2]


def test_gradient_of_a_centroid_is_the_sum_over_its_weights():
    codebook = cluster(torch.randn(20, 30).double(), 3)
    centroids = codebook.centroids.clone().requires_grad_()
    upstream = torch.randn(20, 30).double()
    look_up(Codebook(centroids, codebook.codes)).backward(upstream)
    torch.testing.assert_close(
        centroid_gradient(upstream, codebook.codes, 8), centroids.grad, rtol=1e-12, atol=1e-12
    )
    assert centroids.grad[2].item() == pytest.approx(upstream[codebook.codes == 2].sum().item())


def test_fine_tuning_moves_clusters_together_and_lowers_the_loss():
    torch.manual_seed(0)
    linear, x = nn.Linear(16, 8), torch.randn(100, 16)
    target = linear(x).detach()
    model = cluster_model(nn.Sequential(linear), 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (model(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert len(look_up(Codebook(model[0].centroids, model[0].codes)).unique()) == 4


def test_bytes_are_those_of_the_papers_example():
    """16 weights of 32 bits in 4 clusters: 16 * 32 / (16 * 2 + 4 * 32) = 3.2."""
    assert 16 * 4 / cluster(torch.randn(4, 4), 2).nbytes == 3.2


def test_clustered_network_computes_with_its_centroids_and_is_not_the_given_one():
    model, x = resnet(), images(2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fine, coarse = (cluster_model(model, bits) for bits in (8, 2))
    logits = model(x)
    assert (fine(x) - logits).square().mean() < 0.1 * (coarse(x) - logits).square().mean()
    assert len(fine.head.centroids) == 256
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_bad_input_is_refused():
    for bits in (0, 9):
        with pytest.raises(ValueError, match=f"from 1 to 8, got {bits}"):
            cluster(torch.randn(4), bits)
    with pytest.raises(ValueError, match="inf or nan"):
        cluster(torch.tensor([1.0, float("nan")]), 2)
    with pytest.raises(ValueError, match="no values"):
        cluster(torch.empty(0), 2)
    with pytest.raises(ValueError, match="ReLU has no convolution or linear layer"):
        cluster_model(nn.ReLU(), 2)


def test_a_weight_between_two_centroids_counts_for_the_lower_one_throughout():
    codebook = cluster(torch.tensor([0.0, 1.0, 2.0]), 1)
    assert codebook.centroids.tolist() == [0.5, 2.0]
    assert codebook.codes.tolist() == [0, 0, 1]
