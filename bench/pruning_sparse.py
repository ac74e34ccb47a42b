"""Part of bench.pruning: BERT with a tenth of its linear weights, zeros anywhere.

Of each linear layer but the classifier (or of all of them together) nine of ten weights go while
the network trains with the dense model's answers; the sparsity rises by the cubic schedule for the
first epochs and stays for the rest. Embeddings stay, and are half of all parameters: so both
sparsities are printed. An epoch counts only once the last sparsity is reached.

    magnitude   smallest weights of all layers together       gradual.py
    movement    lowest learned scores of each layer           movement.py
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from bench.pruning_structured import Row, outcome, sizes
from bench.pruning_tuning import TRAINING, Budget, Subject, Taught, subject
from labkit import footprint
from labkit.footprint.tensors import StoredTensor
from reference.pruning.gradual import gradual_pruning
from reference.pruning.magnitude import magnitude_scores
from reference.pruning.movement import hard, movements, with_movement, without_movement
from reference.pruning.schedules import Schedule

SPARSITY = 0.9
EPOCHS, RISING = 3, 2  # of all, those in which the sparsity rises
EVERY = 47  # steps between two masks
SPARED = ("classifier",)
VALUE_BITS, INDEX_BITS = 32, 16
Tuned = Callable[[Subject, Schedule, int], tuple[nn.Module, float]]


@dataclass
class Rising:
    """A task whose epochs count once the sparsity has reached its last value."""

    task: Taught
    schedule: Schedule
    before_step: Callable[[int], None] = lambda step: None
    steps: int = 0

    @property
    def rows(self) -> int:
        return self.task.rows

    def loss(self, model: nn.Module, chosen: Tensor, generator: torch.Generator) -> Tensor:
        self.before_step(self.steps)
        self.steps += 1
        return self.task.loss(model, chosen, generator)

    def score(self, model: nn.Module) -> float:
        reached = self.schedule.at(self.steps)
        return self.task.score(model) if reached == self.schedule.last else reached - 1


def sparse_part(budget: Budget) -> Iterator[Row]:
    of = subject("bert_movie_reviews", budget)
    for name, tuned in METHODS.items():
        yield _row(of, name, tuned)


def schedule_for(of: Subject, epochs: int) -> Schedule:
    """Over RISING of EPOCHS; over half of fewer."""
    steps = -(-of.task.rows // TRAINING[of.name].batch_size) * epochs
    rising = steps * RISING // EPOCHS
    every = min(EVERY, max(1, rising // 4))
    return Schedule(SPARSITY, rounds=max(1, rising // every), every=every)


def magnitude(of: Subject, schedule: Schedule, epochs: int) -> tuple[nn.Module, float]:
    model = of.fresh()
    with gradual_pruning(model, schedule, partial(magnitude_scores, spared=SPARED)):
        seconds = of.tuned_(model, epochs, Rising(of.task, schedule))
    return model, seconds


def movement(of: Subject, schedule: Schedule, epochs: int) -> tuple[nn.Module, float]:
    """Masks are chosen anew every so many steps, not at each: ranking ten million scores at each
    step would take longer than the training."""
    model = with_movement(of.fresh(), spared=SPARED)

    def choose_(step: int) -> None:
        if step % schedule.every == 0:
            for each in movements(model).values():
                each.choose = _always(hard(schedule.at(step))(each.scores.detach()))

    seconds = of.tuned_(model, epochs, Rising(of.task, schedule, choose_))
    for each in movements(model).values():
        each.choose = hard(schedule.last)
    return without_movement(model), seconds


METHODS: dict[str, Tuned] = {"magnitude": magnitude, "movement": movement}


def _always(mask: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda scores: mask


def _row(of: Subject, name: str, tuned: Tuned) -> Row:
    epochs = of.epochs(EPOCHS)
    model, seconds = tuned(of, schedule_for(of, epochs), epochs)
    found = footprint.sparsity(model, model.state_dict())
    return {
        "method": name,
        "linear layers": f"{found.of_prunable:.2%}",
        "all parameters": f"{found.of_all:.2%}",
    } | outcome(of, model) | {"epochs": epochs, "minutes": seconds / 60} | stored(model) | {
        "faster": sizes(of, model)["faster"]
    }  # fmt: skip


def stored(model: nn.Module) -> Row:
    """How many times smaller than dense FP32 the values take with their positions."""
    state = model.state_dict()

    def bitmap(tensor: StoredTensor) -> footprint.Storage:
        return footprint.Bitmap(_density(state[tensor.name]), VALUE_BITS)

    def csr(tensor: StoredTensor) -> footprint.Storage:
        return footprint.Csr(_density(state[tensor.name]), VALUE_BITS, INDEX_BITS)

    found: Row = {}
    for name, rule in (("bitmap", bitmap), ("CSR", csr)):
        chosen = lambda t, rule=rule: rule(t) if t.prunable else footprint.FP32  # noqa: E731
        ledger = footprint.account(model, chosen)
        lines = [line for line in ledger.lines if line.tensor.prunable]
        dense = sum(4 * line.tensor.elements for line in lines)
        found[f"{name} /"] = ledger.ratio_to_fp32
        found[f"{name} of linear /"] = dense / sum(line.stored_bytes for line in lines)
    return found


def _density(values: Tensor) -> float:
    return (values != 0).double().mean().item()
