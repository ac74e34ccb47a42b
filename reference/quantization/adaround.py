"""AdaRound: nearest is the best rounding of a weight, and a poor rounding of a layer.

Each weight may go down or up. What counts is the layer's output, where errors of weights that meet
correlated inputs cancel or add: about half of all random choices beat nearest on a trained layer.
The choice is made continuous, trained by gradient, and pushed to 0 or 1.

    W~ = s (clip(floor(W / s) + h(V) + z, qmin, qmax) - z)
    h(V) = clip(sigmoid(V) (zeta - gamma) + gamma, 0, 1)                  zeta = 1.1, gamma = -0.1
    minimise  mean |W x - W~ x~|^2 + lambda sum (1 - |2 h(V) - 1|^beta)   beta falls from 20 to 2

x~ is what reaches the layer once the layers before it are rounded: each layer mends what it can of
their errors. A large beta leaves undecided weights alone, a small one forces them.

The relaxation promises nothing about the rounded result, so each output keeps the better of it and
nearest. Outputs do not share weights, so no output is ever worse off than with nearest.

Source    Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020,
          arXiv:2004.10568, sections 3.2-3.4.
Differs   The loss of each output is divided by what nearest costs it per weight, so that lambda
          means the same in every layer (0.01 in the paper, whose losses are sums of outputs). It
          needs only X~'X~ and X~'(Y - X~ W'), and all samples count in each step. Each output
          falls back to nearest (above).
Left out  The activation function inside the loss: reconstruction.py trains through whole blocks.
Read      affine.py first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reference.quantization.affine import Grid, dequantize, quantize, widened

ZETA, GAMMA = 1.1, -0.1  # the sigmoid is stretched, so that 0 and 1 are reached


@dataclass(frozen=True)
class AdaRoundConfig:
    steps: int = 1000
    learning_rate: float = 0.03  # of Adam
    strength: float = 10.0  # lambda; below 1 weights stay undecided, and fall to the wrong side
    beta_start: float = 20.0
    beta_end: float = 2.0
    warm_up: float = 0.2  # share of the steps without the regulariser

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"warm_up must be in [0, 1), got {self.warm_up}")


class AdaRounded(NamedTuple):
    weight: Float[Tensor, "d_out d_in"]  # dequantized, in the dtype of the given one
    codes: Int[Tensor, "d_out d_in"]
    error: Float[Tensor, " d_out"]  # mean squared output error of each output
    nearest_error: Float[Tensor, " d_out"]  # the same for rounding to nearest


class _Objective(NamedTuple):
    """mean (y - W~ x~)^2 per output, as a function of D = W~ - W alone."""

    gram: Float[Tensor, "d_in d_in"]  # x~ x~'
    cross: Float[Tensor, "d_out d_in"]  # (y - W x~) x~'
    offset: Float[Tensor, " d_out"]  # (y - W x~)^2, all three averaged over samples

    def __call__(self, change: Float[Tensor, "d_out d_in"]) -> Float[Tensor, " d_out"]:
        return self.offset + ((change @ self.gram - 2 * self.cross) * change).sum(1)


class SoftRounding:
    """A weight between its two neighbours on a grid: `variable` says how far up each value is."""

    def __init__(self, weight: Float[Tensor, "..."], grid: Grid) -> None:
        position = widened(weight) / grid.scale
        self.grid = grid
        self.floor = position.floor()
        self.variable = inverse_rectified_sigmoid(position - self.floor).requires_grad_()

    def soft(self) -> Float[Tensor, "..."]:
        codes = self.floor + rectified_sigmoid(self.variable) + self.grid.zero_point
        grid = self.grid
        return (codes.clamp(grid.qmin, grid.qmax) - grid.zero_point) * grid.scale

    def hard(self) -> Int[Tensor, "..."]:
        """The codes, each weight on the side that its variable leans to."""
        codes = self.floor + (self.variable.detach() > 0) + self.grid.zero_point
        return codes.clamp(self.grid.qmin, self.grid.qmax).to(torch.int32)

    def indecision(self, beta: float) -> Float[Tensor, ""]:
        """sum 1 - |2 h - 1|^beta: 0 when all weights have chosen, their number when none has."""
        return (1 - (2 * rectified_sigmoid(self.variable) - 1).abs() ** beta).sum()


def adaround(
    weight: Float[Tensor, "d_out d_in"],
    inputs: Float[Tensor, "samples d_in"],
    grid: Grid,
    config: AdaRoundConfig = AdaRoundConfig(),
    rounded_inputs: Float[Tensor, "same_samples d_in"] | None = None,
) -> AdaRounded:
    """Choose up or down for each weight of a linear layer, knowing its inputs.

    Args:
        inputs: what the float model sends to the layer.
        rounded_inputs: the same samples after the rounding of the layers before; None: no change.

    Raises:
        ValueError: values that are not finite, no samples, or not the same number of both.
    """
    wide = widened(weight)
    objective = _objective(wide, inputs, inputs if rounded_inputs is None else rounded_inputs)
    nearest = quantize(weight, grid)
    errors = [objective(dequantize(nearest, grid) - wide)]
    chosen = _trained(wide, grid, objective, errors[0], config)
    errors.append(objective(dequantize(chosen, grid) - wide))
    better = errors[1] < errors[0]
    codes = torch.where(better.unsqueeze(1), chosen, nearest)
    error = torch.where(better, errors[1], errors[0])
    return AdaRounded(dequantize(codes, grid).to(weight.dtype), codes, error, errors[0])


def anneal(
    soft: Sequence[SoftRounding], loss_at: Callable[[int], Tensor], config: AdaRoundConfig
) -> None:
    """Train the variables in place. `loss_at(step)` counts weights: their number is nearest's."""
    optimizer = torch.optim.Adam([each.variable for each in soft], lr=config.learning_rate)
    for step in range(config.steps):
        optimizer.zero_grad()
        loss = loss_at(step)
        beta = beta_at(step, config)
        if beta is not None:
            loss = loss + config.strength * sum(each.indecision(beta) for each in soft)
        loss.backward()
        optimizer.step()


def beta_at(step: int, config: AdaRoundConfig) -> float | None:
    """From beta_start to beta_end along half a cosine; None while warming up."""
    begin = config.warm_up * config.steps
    if step < begin:
        return None
    progress = torch.pi * (step - begin) / (config.steps - begin)
    share = (1 + torch.cos(torch.tensor(progress)).item()) / 2
    return config.beta_end + (config.beta_start - config.beta_end) * share


def rectified_sigmoid(variable: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """h(V): 0 at or below -2.4, 1 at or above 2.4, one half at 0."""
    return (torch.sigmoid(variable) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def inverse_rectified_sigmoid(share: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The V with h(V) = share, for shares in [0, 1]."""
    return torch.logit((share - GAMMA) / (ZETA - GAMMA))


def _objective(weight: Tensor, inputs: Tensor, rounded_inputs: Tensor) -> _Objective:
    inputs, rounded_inputs = (widened(x).to(weight.dtype) for x in (inputs, rounded_inputs))
    if inputs.shape != rounded_inputs.shape:
        raise ValueError(
            f"inputs are {tuple(inputs.shape)}, rounded_inputs {tuple(rounded_inputs.shape)}; "
            "they must be the same samples"
        )
    missing = (inputs - rounded_inputs) @ weight.T
    samples = len(inputs)
    return _Objective(
        rounded_inputs.T @ rounded_inputs / samples,
        missing.T @ rounded_inputs / samples,
        missing.square().mean(0),
    )


def _trained(
    weight: Tensor, grid: Grid, objective: _Objective, nearest: Tensor, config: AdaRoundConfig
) -> Tensor:
    worth = torch.where(nearest > 0, weight.shape[1] / nearest, 0.0)  # 0: nothing to gain
    soft = SoftRounding(weight, grid)
    anneal([soft], lambda _: (worth * objective(soft.soft() - weight)).sum(), config)
    return soft.hard()
