"""What training costs in multiply-accumulates, so that two ways to train are given the same.

    one step     = teachers' forward + student's forward + backward + sampling
    a stage      = steps * one step
    a chain      = the sum over its stages, the assistants' included
    fair rival   = the teacher's student distilled directly, for floor(chain / one step) steps

A chain of assistants trains several models to end with one. Compared at equal steps of the last
model it has been given several times the work, and a gain says nothing.

Counts are of matrix products and convolutions as they are run: backward is not twice forward, since
the gradient of the first layer's inputs is never computed. FLOPs are 2 MACs. Norms, activations,
losses and the optimizer are not counted: they are memory's business.

Source    Counted by torch.utils.flop_counter (PyTorch 2.13). Comparing at equal compute: Busbridge
          et al., "Distillation Scaling Laws", 2025, arXiv:2502.08606.
Differs   torch does not count fused attention on a CPU, so attention is split here while counting.
Left out  Time and energy, which are to be measured.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from reference.distillation.loop import Objective, Taps
from reference.distillation.outputs import Batch, observe, taught


@dataclass(frozen=True)
class StepMacs:
    """MACs of one step on one batch.

    Raises:
        ValueError: a count is below 0.
    """

    teachers: int  # forward
    forward: int  # the student's, and the objective's
    backward: int
    sampling: int = 0  # of sequences that the student writes for itself

    def __post_init__(self) -> None:
        for name, count in vars(self).items():
            if count < 0:
                raise ValueError(f"{name} must be at least 0 MACs, got {count}")

    @property
    def total(self) -> int:
        return self.teachers + self.forward + self.backward + self.sampling


@dataclass(frozen=True)
class Spent:
    """One stage.

    Raises:
        ValueError: the number of steps is below 0.
    """

    stage: str
    steps: int
    step: StepMacs

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"{self.stage!r} must take at least 0 steps, got {self.steps}")

    @property
    def macs(self) -> int:
        return self.steps * self.step.total


class Counted(NamedTuple):
    result: Any  # what the call gave
    macs: int


def total_macs(stages: Sequence[Spent]) -> int:
    return sum(stage.macs for stage in stages)


def equal_steps(budget_macs: int, step: StepMacs) -> int:
    """How many steps of this kind a budget pays for.

    Raises:
        ValueError: not one, or a step that costs nothing.
    """
    if step.total == 0:
        raise ValueError(
            "a step of 0 MACs can be taken for ever; expected one that costs something"
        )
    if budget_macs < step.total:
        raise ValueError(f"{budget_macs} MACs do not pay for one step of {step.total}")
    return budget_macs // step.total


def step_macs(
    student: nn.Module,
    teacher: nn.Module | None,
    objective: Objective,
    batch: Batch,
    taps: Taps = Taps(),
) -> StepMacs:
    """What one step of `distill_` does on this batch, counted on copies. A committee counts whole.

    Raises:
        ValueError: as `observe`.
    """
    student, objective = copy.deepcopy(
        (student, objective)
    )  # one call: what they share stays shared
    student.train()
    said, teaching = None, 0
    with torch.random.fork_rng(devices=[]):
        if teacher is not None:
            said, teaching = counted(lambda: taught(teacher, batch.inputs, taps.teacher))
        answer, forward = counted(lambda: observe(student, batch.inputs, taps.student))
        loss, losing = counted(lambda: objective(answer, said, batch, 0.0))
        _, backward = counted(loss.backward)
    return StepMacs(teaching, forward + losing, backward)


def counted(call: Callable[[], Any]) -> Counted:
    """Run a call, and count the products and convolutions in it."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        result = call()
    return Counted(result, counter.get_total_flops() // 2)
