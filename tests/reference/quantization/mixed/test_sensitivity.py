"""Claims about losses and costs of layers. 1e-12 and 1e-6 are float64's and float32's rounding."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian
from torch.nn import functional as F

from reference.quantization.mixed.allocation import uniform
from reference.quantization.mixed.apply import chosen, round_mixed
from reference.quantization.mixed.budgets import (
    bit_operations,
    layer_macs,
    measured_seconds,
    stored_bytes,
)
from reference.quantization.mixed.curvature import (
    fisher_information,
    fisher_losses,
    hessian_traces,
    trace_losses,
)
from reference.quantization.mixed.exact import dynamic_programming
from reference.quantization.mixed.options import Table, layer_options
from reference.quantization.mixed.sensitivity import logit_divergence, metric_drop, output_error
from reference.quantization.packed_weight import WeightOnlyConfig
from reference.quantization.weight_only import pack_weights, round_weights

CONFIG = WeightOnlyConfig(granularity=8)
BITS = (2, 4, 8)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4)
    )


def table_of(model, loss, options) -> Table:
    return Table(tuple(options), BITS, loss, stored_bytes(options))


def test_options_are_the_rounded_weights_of_each_width():
    model = network()
    options = layer_options(model, BITS, CONFIG)
    assert list(options) == ["0", "2", "4"]
    for bits in BITS:
        rounded = round_weights(model, WeightOnlyConfig(bits, 8))
        for name in options:
            [option] = [each for each in options[name] if each.bits == bits]
            assert torch.equal(option.weight, rounded.get_submodule(name).weight)


def test_bytes_of_an_allocation_are_those_of_the_stored_model():
    model = network()
    options = layer_options(model, BITS, CONFIG)
    table = table_of(model, torch.ones(3, 3).double(), options)
    stored = pack_weights(model, WeightOnlyConfig(4, 8))
    buffers = sum(b.numel() * b.element_size() for b in stored.buffers())
    assert table.allocation([1, 1, 1]).cost == buffers


def test_output_error_is_that_of_the_layer_alone():
    model, x = network(), torch.randn(20, 8)
    options = layer_options(model, BITS, CONFIG)
    found = output_error(model, options, [x[:5], x[5:]])
    hidden = model[1](model[0](x))
    exact, rounded = model[2](hidden), F.linear(hidden, options["2"][0].weight, model[2].bias)
    expected = (rounded - exact).square().sum() / exact.square().sum()
    assert found[1, 0] == pytest.approx(expected.item(), rel=1e-5)
    assert (found[:, 0] > found[:, 1]).all()
    assert (found[:, 1] > found[:, 2]).all()


def test_divergence_is_zero_without_rounding_and_that_of_the_whole_model():
    model, x = network(), torch.randn(20, 8)
    options = layer_options(model, BITS, CONFIG)
    found = logit_divergence(model, options, [x])
    p = model(x).double().softmax(-1)
    q = functional_call(model, {"4.weight": options["4"][0].weight}, (x,)).double().softmax(-1)
    assert found[2, 0] == pytest.approx((p * (p / q).log()).sum(1).mean().item(), rel=1e-6)
    same = {"0": (options["0"][0]._replace(weight=model[0].weight.detach()),)}
    assert logit_divergence(model, same, [x]).item() == pytest.approx(0, abs=1e-12)


def test_metric_drop_leaves_the_model_as_it_was():
    model, x = network(), torch.randn(50, 8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    labels = model(x).argmax(1)

    def accuracy(each):
        return (each(x).argmax(1) == labels).double().mean().item()

    found = metric_drop(model, layer_options(model, BITS, CONFIG), accuracy)
    assert found.min() >= 0
    assert found[:, 0].sum() > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Quadratic(nn.Module):
    """w' A w / 2 as a network: its Hessian is A."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.matrix = matrix
        self.layer = nn.Linear(len(matrix), 1, bias=False).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.layer.weight.flatten()
        return x * (weight @ self.matrix @ weight) / 2


def value(model, x):
    return model(x).sum()


def trace_of(matrix, seed=0, probes=1):
    generator = torch.Generator().manual_seed(seed)
    one = torch.ones(1, dtype=torch.float64)
    return hessian_traces(Quadratic(matrix), ["layer"], [one], value, generator, probes).item()


def test_one_probe_is_exact_for_a_diagonal_hessian():
    diagonal = torch.linspace(-1, 3, 12, dtype=torch.float64)
    assert trace_of(torch.diag(diagonal)) == pytest.approx(diagonal.sum().item(), abs=1e-12)


def test_probes_have_the_mean_and_variance_that_hutchinson_says():
    """2000 draws: the mean is within 4 standard errors, the variance within 20 % (4 of its own)."""
    matrix = torch.randn(6, 6, dtype=torch.float64)
    matrix = matrix + matrix.T
    draws = torch.tensor([trace_of(matrix, seed) for seed in range(2000)])
    variance = 2 * (matrix.square().sum() - matrix.diagonal().square().sum()).item()
    assert draws.mean().item() == pytest.approx(
        matrix.trace().item(), abs=4 * (variance / 2000) ** 0.5
    )
    assert draws.var().item() == pytest.approx(variance, rel=0.2)


def test_traces_are_those_of_the_analytic_hessian():
    """Many probes on a small network; terms between its layers vanish in the mean."""
    model, x = network().double(), torch.randn(9, 8).double()
    labels = torch.arange(9) % 4

    def loss_of(each, batch):
        return F.cross_entropy(each(batch), labels)

    generator = torch.Generator().manual_seed(0)
    found = hessian_traces(model, ["4"], [x], loss_of, generator, probes=2000)

    def as_function(weight):
        return F.cross_entropy(functional_call(model, {"4.weight": weight}, (x,)), labels)

    exact = hessian(as_function)(model[4].weight.detach()).reshape(64, 64)
    spread = 2 * (exact.square().sum() - exact.diagonal().square().sum())
    assert found.item() == pytest.approx(
        exact.trace().item(), abs=4 * (spread / 2000).sqrt().item()
    )


def test_fisher_information_is_the_mean_squared_gradient():
    model, x = network(), torch.randn(5, 8)

    def loss_of(each, sample):
        return F.cross_entropy(each(sample.unsqueeze(0)), torch.tensor([1]))

    [found] = fisher_information(model, ["2"], list(x), loss_of)
    gradients = []
    for sample in x:
        model.zero_grad()
        loss_of(model, sample).backward()
        gradients.append(model[2].weight.grad.clone())
    assert torch.allclose(found, torch.stack(gradients).square().mean(0), atol=1e-7)


def test_curvature_losses_are_the_changes_weighed():
    model = network()
    options = layer_options(model, BITS, CONFIG)
    change = options["0"][0].weight - model[0].weight.detach()
    by_trace = trace_losses(model, options, torch.tensor([3.0, -1.0, 2.0]))
    assert by_trace[0, 0] == pytest.approx(3 * change.square().mean().item(), rel=1e-6)
    assert (by_trace[1] == 0).all()  # a valley that bends down is not a gain
    information = [torch.rand_like(model.get_submodule(name).weight) for name in options]
    by_fisher = fisher_losses(model, options, information)
    expected = (information[0] * change.square()).sum().item() / 2
    assert by_fisher[0, 0] == pytest.approx(expected, rel=1e-5)


def test_bit_operations_are_macs_times_both_widths():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 36, 5))
    image = torch.randn(1, 3, 6, 6)
    macs = layer_macs(model, ["0", "2"], image)
    assert macs == {"0": 4 * 36 * 27, "2": 5 * 144}
    options = layer_options(
        model, (4, 8), WeightOnlyConfig(granularity="channel"), (nn.Conv2d, nn.Linear)
    )
    square = bit_operations(model, options, image)
    assert square.tolist() == [[each * 16, each * 64] for each in macs.values()]
    fixed = bit_operations(model, options, image, activation_bits=8)
    assert fixed.tolist() == [[each * 32, each * 64] for each in macs.values()]


def test_time_is_the_sum_of_what_was_measured():
    options = layer_options(network(), BITS, CONFIG)
    seconds = {(name, bits): bits / 10 + int(name) for name in options for bits in BITS}
    table = Table(
        tuple(options), BITS, torch.ones(3, 3).double(), measured_seconds(options, seconds)
    )
    assert table.allocation([0, 1, 2]).cost == pytest.approx(0.2 + 2.4 + 4.8)
    del seconds["2", 4]
    with pytest.raises(ValueError, match="no time was measured for '2' in 4 bits"):
        measured_seconds(options, seconds)


@pytest.mark.parametrize("measure", [output_error, logit_divergence])
def test_mixed_beats_uniform_at_equal_bytes_where_one_layer_is_fragile(measure):
    """Two layers of four values lose nothing in 2 bits; the last has a large weight per group."""
    model, x = network(), torch.randn(200, 8)
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.copy_(torch.randint(0, 4, layer.weight.shape) * 0.1)
            layer.weight[:, ::8], layer.weight[:, 1::8] = 0.0, 0.3
        model[4].weight[:, ::8] *= 30
    options = layer_options(model, BITS, CONFIG)
    table = table_of(model, measure(model, options, [x]), options)
    budget = table.allocation([1, 1, 1]).cost
    mixed, same = dynamic_programming(table, budget), uniform(table, budget)
    assert set(same.bits.values()) == {4}
    exact = model(x)
    errors = [
        (round_mixed(model, options, each.bits)(x) - exact).square().mean().item()
        for each in (mixed, same)
    ]
    assert errors[0] < errors[1]


def test_rounding_by_an_allocation_changes_only_a_copy():
    model = network()
    options = layer_options(model, BITS, CONFIG)
    rounded = round_mixed(model, options, {"0": 8, "4": 2})
    assert torch.equal(rounded[0].weight, options["0"][2].weight)
    assert torch.equal(rounded[2].weight, model[2].weight)
    with pytest.raises(ValueError, match="layer '0' has no option of 3 bits"):
        chosen(options, {"0": 3})


def test_nothing_to_measure_is_refused():
    model = network()
    options = layer_options(model, BITS, CONFIG)
    with pytest.raises(ValueError, match="no width"):
        layer_options(model, ())
    with pytest.raises(ValueError, match="at least one batch"):
        logit_divergence(model, options, [])
    with pytest.raises(ValueError, match="0 batches"):
        hessian_traces(model, ["0"], [], value, torch.Generator())
    with pytest.raises(ValueError, match="0 samples"):
        fisher_information(model, ["0"], [], value)
    with pytest.raises(ValueError, match="no layer to measure"):
        metric_drop(model, {}, lambda _: 1.0)
