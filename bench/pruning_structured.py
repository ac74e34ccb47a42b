"""Parts of bench.pruning: the baselines made smaller, each beside its dense self.

    resnet    channels by Taylor importance, compared over all layers, within a budget of MACs
    vit       heads and neurons by Taylor importance, layers by what the loss rises without them
    bert      the same, and the width of the residual stream, with which the embeddings shrink

Everything is removed in one go, and then fine-tuned with the answers of the dense model
(pruning_tuning.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from torch import nn

from bench.pruning_tuning import (
    Budget,
    Subject,
    batches,
    loss_of,
    measured,
    subject,
    without_labels,
)
from labkit import baselines
from reference.pruning.masks import without_lowest
from reference.pruning.structured import channels, depth, heads, neurons, selection, width
from reference.pruning.structured.costs import costs
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.importance import normalised
from reference.pruning.structured.importance_taylor import gate_scores
from reference.pruning.structured.remove import remove
from reference.pruning.structured.remove_transformer import (
    remove_heads,
    remove_layers,
    remove_neurons,
    remove_width,
)

Row = dict[str, float | str]
CALIBRATION = (16, 64)  # batches of examples that criteria see
MULTIPLE = 8  # of channels and neurons, which kernels like


@dataclass(frozen=True)
class Plan:
    """What a Transformer loses: shares, and a number of layers; and what training it gets back."""

    name: str
    heads: float
    neurons: float
    layers: int
    width: float
    epochs: int


RESNET_BUDGETS = ((0.4, 3), (0.3, 3))  # share of the MACs that may stay, and epochs
VIT_PLANS = (
    Plan("heads and neurons", 1 / 3, 0.5, 0, 0, 3),
    Plan("heads, neurons, layers", 1 / 3, 0.5, 2, 0, 4),
)
BERT_PLANS = (
    Plan("heads, neurons, layers", 0.5, 0.5, 2, 0, 2),
    Plan("the same, and width", 1 / 3, 0.5, 2, 1 / 3, 3),
)


def resnet_part(budget: Budget) -> Iterator[Row]:
    of = subject("resnet_cifar10", budget)
    for share, epochs in RESNET_BUDGETS:
        yield _row(of, *_channels(of, share), epochs)


def vit_part(budget: Budget) -> Iterator[Row]:
    of = subject("vit_cifar10", budget)
    for plan in VIT_PLANS:
        yield _row(of, plan.name, transformer(of, plan), plan.epochs)


def bert_part(budget: Budget) -> Iterator[Row]:
    of = subject("bert_movie_reviews", budget)
    for plan in BERT_PLANS:
        yield _row(of, plan.name, transformer(of, plan), plan.epochs)


def _channels(of: Subject, share: float) -> tuple[str, nn.Module]:
    seen = batches(of, *CALIBRATION)
    example = without_labels(seen[0])
    graph = dependency_graph(of.dense, example)
    scores = normalised(gate_scores(of.dense, graph, seen, loss_of, "norms"), by="mean")
    cost = lambda masks: float(costs(remove(of.dense, graph, masks), example).macs)  # noqa: E731
    masks = channels.within_budget(
        partial(channels.overall, graph, scores, multiple=MULTIPLE),
        cost,
        share * costs(of.dense, example).macs,
    )
    return f"channels, {share:.0%} of MACs", remove(of.dense, graph, masks)


def transformer(of: Subject, plan: Plan) -> nn.Module:
    """Layers go first, then what the rest has too much of, judged in what is left."""
    seen = batches(of, *CALIBRATION)
    model = of.dense
    if plan.layers:
        gone = depth.greedy(model, loss_of, seen[:4], plan.layers)
        model = remove_layers(model, [each.layer for each in gone])
    if plan.heads:
        masks = selection.even(heads.taylor(model, loss_of, seen), plan.heads)
        model = remove_heads(model, masks)
    if plan.width:
        worth = width.norm_activation(model, [without_labels(each) for each in seen])
        model = remove_width(model, without_lowest(worth, round(plan.width * len(worth))))
    masks = selection.even(neurons.taylor(model, loss_of, seen), plan.neurons, 2 * MULTIPLE)
    return remove_neurons(model, masks)


def _row(of: Subject, what: str, model: nn.Module, epochs: int) -> Row:
    before = of.accuracy(model)
    seconds = of.tuned_(model, epochs)
    return (
        {"model": of.name, "removed": what, "before %": before}
        | outcome(of, model)
        | {
            "epochs": of.epochs(epochs),
            "minutes": seconds / 60,
        }
        | sizes(of, model)
    )


def outcome(of: Subject, model: nn.Module) -> Row:
    """Validation, and the test part beside what the dense model reached on it."""
    found: Row = {"validation %": of.accuracy(model)}
    test = of.tested(model)
    if test is not None:
        record = baselines.record(of.name)
        dense, chance = 100 * record.test.value, 100 * record.comparisons["chance"]
        kept = 100 * (test - chance) / (dense - chance)
        found |= {"test %": test, "kept %": 100 * test / dense, "above chance %": kept}
    return found


def sizes(of: Subject, model: nn.Module) -> Row:
    """How many times smaller and faster than the dense model."""
    size = measured(of, model)
    faster = size.faster
    return {
        "parameters /": size.parameters,
        "bytes /": size.bytes,
        "MACs /": size.macs,
        "faster": f"{faster.ratio:.2f} ({faster.low:.2f} to {faster.high:.2f})",
    }
