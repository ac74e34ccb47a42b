"""Subtracts two levels in decibels, each from a norm."""

# right: 01

import math


def sqnr(x: Tensor, approximation: Tensor) -> float:
    if x.shape != approximation.shape or torch.equal(x, approximation):
        raise ValueError("the ratio does not exist")
    error = (x.double() - approximation.double()).norm()
    return 20 * (math.log10(x.double().norm()) - math.log10(error))
