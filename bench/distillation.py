"""What distillation gives a small network beside the same steps without a teacher.

    python -m bench.distillation [bert cifar llama] [--json] [--quick]

    bert     bert_movie_reviews to two of its layers with the words that occur in the reviews
    cifar    resnet_cifar10 to resnet_small_cifar10, trained already: more steps of either kind
    llama    llama_sotu to half of its layers and half of their neurons

Both students of a pair begin as the same network, see the same examples in the same order, and take
the same steps; what differs is the loss. Seeds change order and dropout. The interval is of the
paired differences over the seeds (Student's t, 95 %). Hidden examples are asked once, about
finished students; steps, rates and shares were set before and not tuned on them.
"""

import argparse
import copy
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from time import monotonic

import torch
from torch import Tensor, nn

from labkit import baselines, data
from labkit.baselines import bert_movie_reviews, llama_sotu, resnet_cifar10
from labkit.baselines.recipe import Study
from labkit.evaluation import accuracy, perplexity
from labkit.text import TokenBatch
from reference.distillation.loop import Epoch, LoopConfig, Objective, distill_
from reference.distillation.outputs import Batch, Outputs
from reference.distillation.progressive.annealing import labels_alone
from reference.distillation.response.soft_labels import hard_loss, soft_divergence

SEEDS = (0, 1, 2)
T_975 = {2: 4.303, 3: 3.182, 4: 2.776}  # Student's t by degrees of freedom, for 95 %
BERT_LAYERS = (1, 4)


@dataclass(frozen=True)
class Budget:
    """QUICK shows that everything runs, and says nothing about quality."""

    steps: dict[str, int]
    rows: int | None = None  # of training and, then, of validation in the place of hidden examples


FULL = Budget({"bert": 500, "cifar": 300, "llama": 400})
QUICK = Budget({"bert": 2, "cifar": 2, "llama": 2}, rows=128)


@dataclass(frozen=True)
class Pair:
    """A teacher, the student that both arms begin from, and how they are trained and measured."""

    name: str
    teacher: nn.Module
    student: nn.Module
    epoch: Epoch
    config: LoopConfig
    objective: Objective  # of the distilled student
    measure: Callable[[nn.Module], float]  # on hidden examples
    unit: str
    lower_is_better: bool = False


@dataclass(frozen=True)
class Row:
    pair: str
    teacher: float
    before: float  # both students, before the first step
    distilled: tuple[float, ...]  # by seed
    undistilled: tuple[float, ...]
    gain: float  # mean of the differences, positive where the distilled student is better
    gain_low: float
    gain_high: float
    kept_percent: float  # of the teacher: accuracy, or the teacher's perplexity over the student's
    smaller: float  # parameters of the teacher over those of the student
    unit: str
    steps: int
    seconds_distilled: float  # of one run, on average
    seconds_undistilled: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", default=[*PARTS])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    for part in arguments.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}; there are {', '.join(PARTS)}")
        found = compared(PARTS[part](QUICK if arguments.quick else FULL))
        print(json.dumps(asdict(found), indent=2) if arguments.json else table(found), flush=True)


def compared(pair: Pair) -> Row:
    arms = {"distilled": pair.objective, "undistilled": labels_alone}
    scores: dict[str, list[float]] = {arm: [] for arm in arms}
    seconds = dict.fromkeys(arms, 0.0)
    for seed in SEEDS:
        for arm, objective in arms.items():
            student, start = copy.deepcopy(pair.student), monotonic()
            teacher = pair.teacher if arm == "distilled" else None
            distill_(student, teacher, objective, pair.epoch, replace(pair.config, seed=seed))
            seconds[arm] += (monotonic() - start) / len(SEEDS)
            scores[arm].append(pair.measure(student))
            print(f"{pair.name} {arm} seed {seed}: {scores[arm][-1]:.4g}", file=sys.stderr)
    sign = -1 if pair.lower_is_better else 1
    gains = [sign * (a - b) for a, b in zip(*scores.values(), strict=True)]
    teacher, mean = pair.measure(pair.teacher), statistics.fmean(scores["distilled"])
    half = T_975[len(gains) - 1] * statistics.stdev(gains) / math.sqrt(len(gains))
    return Row(
        pair=pair.name,
        teacher=teacher,
        before=pair.measure(pair.student),
        distilled=tuple(scores["distilled"]),
        undistilled=tuple(scores["undistilled"]),
        gain=statistics.fmean(gains),
        gain_low=statistics.fmean(gains) - half,
        gain_high=statistics.fmean(gains) + half,
        kept_percent=100 * (teacher / mean if pair.lower_is_better else mean / teacher),
        smaller=_size(pair.teacher) / _size(pair.student),
        unit=pair.unit,
        steps=pair.config.steps,
        seconds_distilled=seconds["distilled"],
        seconds_undistilled=seconds["undistilled"],
    )


def table(row: Row) -> str:
    distilled, undistilled = (
        ", ".join(f"{each:.2f}" for each in arm) for arm in (row.distilled, row.undistilled)
    )
    lines = [
        f"\n{row.pair}, {row.unit}, {row.smaller:.2f}x smaller, {row.steps} steps\n",
        "| teacher | before | undistilled | distilled | gain, 95 % interval | kept | time |",
        "|---|---|---|---|---|---|---|",
        f"| {row.teacher:.2f} | {row.before:.2f} | {undistilled} | {distilled} | {row.gain:+.2f} "
        f"({row.gain_low:+.2f} to {row.gain_high:+.2f}) | {row.kept_percent:.1f} % | "
        f"{row.seconds_distilled / row.seconds_undistilled:.2f}x |",
    ]
    return "\n".join(lines)


def soft_and_hard(
    student: Outputs,
    teacher: Outputs | None,
    batch: Batch,
    progress: float,
    share: float,
    temperature: float,
) -> Tensor:
    """(1 - share) cross-entropy + share T^2 KL, at all positions (none is padding here)."""
    assert teacher is not None
    soft = soft_divergence(student.logits, teacher.logits, temperature)
    return (1 - share) * hard_loss(student.logits, batch.labels) + share * soft


class Reworded(nn.Module):
    """A classifier that knows some of the teacher's words; all others are one unknown word."""

    def __init__(self, model: nn.Module, place: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("place", place)  # (words of the teacher,): the student's number

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(self.place[input_ids], attention_mask=attention_mask).logits


def bert(budget: Budget) -> Pair:
    study, teacher = bert_movie_reviews.RECIPE.study(), baselines.load("bert_movie_reviews")
    train: TokenBatch = study.task.train  # type: ignore[attr-defined]
    known = torch.unique(torch.cat([train.input_ids.flatten(), torch.tensor([0, 100, 101, 102])]))
    objective = partial(soft_and_hard, share=0.9, temperature=2.0)
    return Pair(
        name="bert_movie_reviews",
        teacher=teacher,
        student=_two_layers(teacher, known),
        epoch=partial(_texts, train=_first(train, budget.rows), size=32),
        config=LoopConfig(budget.steps["bert"], learning_rate=2e-4),
        objective=objective,
        measure=partial(_accuracy, study=study, budget=budget),
        unit="% right",
    )


def _accuracy(model: nn.Module, study: Study, budget: Budget) -> float:
    """On hidden examples, in per cent."""
    if budget.rows is None:
        return 100 * study.test(model).value
    validation = study.task.validation  # type: ignore[attr-defined]
    return 100 * accuracy(model, type(validation)(*(each[: budget.rows] for each in validation)))


def _two_layers(teacher: nn.Module, known: Tensor) -> nn.Module:
    """The teacher's embeddings of known words, two of its layers, its pooler and its head."""
    student = copy.deepcopy(teacher)
    layers = student.bert.encoder.layer
    student.bert.encoder.layer = nn.ModuleList(layers[i] for i in BERT_LAYERS)
    words = student.bert.embeddings.word_embeddings.weight.detach()
    embedding = nn.Embedding(len(known), words.shape[1], padding_idx=0)
    embedding.weight.data.copy_(words[known])
    student.bert.embeddings.word_embeddings = embedding
    place = torch.full((len(words),), int((known == 100).nonzero()))  # 100 is [UNK]
    place[known] = torch.arange(len(known))
    return Reworded(student, place)


def _texts(generator: torch.Generator, train: TokenBatch, size: int) -> Iterator[Batch]:
    for rows in torch.randperm(len(train.labels), generator=generator).split(size):
        part = train.rows(rows).trimmed()
        inputs = {"input_ids": part.input_ids, "attention_mask": part.attention_mask}
        yield Batch(inputs, part.labels)


def _first(train: TokenBatch, rows: int | None) -> TokenBatch:
    return train.rows(slice(0, rows))


def cifar(budget: Budget) -> Pair:
    study = resnet_cifar10.RECIPE.study()
    rows = data.cifar10("train").select(range(budget.rows or 45_000))
    train = data.batch(rows)
    return Pair(
        name="resnet_cifar10",
        teacher=baselines.load("resnet_cifar10"),
        student=baselines.load("resnet_small_cifar10"),
        epoch=partial(_pictures, train=train, size=128),
        config=LoopConfig(budget.steps["cifar"], learning_rate=0.02, optimizer="sgd"),
        objective=partial(soft_and_hard, share=0.9, temperature=4.0),
        measure=partial(_accuracy, study=study, budget=budget),
        unit="% right",
    )


def _pictures(generator: torch.Generator, train: data.Batch, size: int) -> Iterator[Batch]:
    """Mirrored at random: both networks have seen every picture as it is many times."""
    for rows in torch.randperm(len(train.labels), generator=generator).split(size):
        images = train.images[rows]
        mirrored = torch.rand(len(rows), generator=generator) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        yield Batch(images, train.labels[rows])


def llama(budget: Budget) -> Pair:
    study, teacher = llama_sotu.RECIPE.study(), baselines.load("llama_sotu")
    train: Tensor = study.task.train[: budget.rows]  # type: ignore[attr-defined]
    return Pair(
        name="llama_sotu",
        teacher=teacher,
        student=_every_other_layer(teacher),
        epoch=partial(_windows, train=train, size=16),
        config=LoopConfig(budget.steps["llama"], learning_rate=2e-3),
        objective=partial(soft_and_hard, share=0.5, temperature=1.0),
        measure=partial(_perplexity, study=study, budget=budget),
        unit="perplexity",
        lower_is_better=True,
    )


def _perplexity(model: nn.Module, study: Study, budget: Budget) -> float:
    """Of hidden texts, per token."""
    if budget.rows is None:
        return study.test(model).value
    return perplexity(model, study.task.validation[: budget.rows // 8])  # type: ignore[attr-defined]


def _every_other_layer(teacher: nn.Module) -> nn.Module:
    student = copy.deepcopy(teacher)
    layers = student.model.layers
    student.model.layers = nn.ModuleList(layers[i] for i in range(0, len(layers), 2))
    student.config.num_hidden_layers = len(student.model.layers)
    for place, layer in enumerate(student.model.layers):
        layer.self_attn.layer_idx = place
        half = layer.mlp.gate_proj.out_features // 2
        _halve_(layer.mlp, half)
    student.config.intermediate_size = half
    return student


def _halve_(mlp: nn.Module, half: int) -> None:
    """Keeps the neurons whose three weights are largest together."""
    sizes = mlp.gate_proj.weight.norm(dim=1) * mlp.up_proj.weight.norm(dim=1)
    kept = (sizes * mlp.down_proj.weight.norm(dim=0)).topk(half).indices.sort().values
    for name in ("gate_proj", "up_proj"):
        layer = getattr(mlp, name)
        layer.weight = nn.Parameter(layer.weight.detach()[kept].clone())
        layer.out_features = half
    mlp.down_proj.weight = nn.Parameter(mlp.down_proj.weight.detach()[:, kept].clone())
    mlp.down_proj.in_features = half


def _windows(generator: torch.Generator, train: Tensor, size: int) -> Iterator[Batch]:
    """Each token's label is the one after it."""
    for rows in torch.randperm(len(train), generator=generator).split(size):
        yield Batch(train[rows, :-1], train[rows, 1:])


def _size(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


PARTS = {"bert": bert, "cifar": cifar, "llama": llama}

if __name__ == "__main__":
    main()
