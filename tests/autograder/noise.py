"""Simulated timings: what a machine can do to a measurement whose truth is known."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autograder.latency import PAIRS_PER_BLOCK, Block
from labkit.timing import Pair

QUIET = (0.63, 0.63)  # of the fixed work, ms
Clocks = np.ndarray  # (pairs, 4): baseline and candidate on CPU time, then on wall time


@dataclass
class Machine:
    """Blocks of a true ratio. `disturb` changes the clocks of one block, number by number."""

    ratio: float
    random: np.random.Generator
    between: float = 0.01  # spread of the blocks' own ratios, on a log scale
    within: float = 0.04  # spread of one call
    disturb: Callable[["Machine", int, Clocks], Clocks] = lambda machine, number, clocks: clocks

    def block(self, number: int) -> Block:
        own = math.exp(self.random.normal(0, self.between))
        noise = np.exp(self.random.normal(0, self.within, (PAIRS_PER_BLOCK, 2)))
        cpu = np.array([16.0 * own, 16.0 / self.ratio]) * noise
        clocks = self.disturb(self, number, np.hstack([cpu, cpu]))
        return Block(tuple(Pair(*map(float, row)) for row in clocks), QUIET)


def drift(machine: Machine, number: int, clocks: Clocks) -> Clocks:
    """The processor slows down by a third within a block, and stays slow."""
    return clocks * np.linspace(1 + number / 30, 1.3 + number / 30, len(clocks))[:, None]


def bursts(machine: Machine, number: int, clocks: Clocks) -> Clocks:
    """One call in eight takes three times as long, of either model."""
    struck = np.where(machine.random.random((len(clocks), 2)) < 1 / 8, 3.0, 1.0)
    return clocks * np.tile(struck, 2)


def heavy_tail(machine: Machine, number: int, clocks: Clocks) -> Clocks:
    """Now and then any factor: a Cauchy distribution on a log scale, cut at a thousandfold."""
    logs = np.clip(0.02 * machine.random.standard_cauchy((len(clocks), 2)), -7, 7)
    return clocks * np.tile(np.exp(logs), 2)


def competing_load(machine: Machine, number: int, clocks: Clocks) -> Clocks:
    """Every second block shares its core: wall time doubles at random, CPU time spreads."""
    if number % 2:
        return clocks
    spread = np.exp(machine.random.normal(0, 0.05, (len(clocks), 2)))
    shared = np.where(machine.random.random((len(clocks), 2)) < 0.5, 2.0, 1.0)
    return clocks * np.hstack([spread, spread * shared])


MODELS = {
    "quiet": lambda machine, number, clocks: clocks,
    "drift": drift,
    "bursts": bursts,
    "heavy tail": heavy_tail,
    "competing load": competing_load,
}
