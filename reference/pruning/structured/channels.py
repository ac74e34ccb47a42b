"""Choosing channels: from scores to masks that leave a network in which every layer has a width.

    by group      each group loses a share of its own
    overall       one comparison over all groups; the best of each stay, however low their scores
    budget        the smallest share whose network is no dearer than a budget

Kernels like widths in multiples of 8 or 16: a kept width is rounded to the nearest multiple, which
a group as wide as it was is spared. A unit of a grouped convolution is one channel of each of its
groups, so that widths stay divisible by groups whatever is chosen.

Source    He et al., "AMC", ECCV 2018, arXiv:1802.03494 (widths in multiples of 8); Liu et al., ICCV
          2017, arXiv:1708.06519 (one threshold over all layers).
Read      importance.py first; masks.py and selection.py do the counting.
"""

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from reference.pruning.masks import Masks, global_masks, removed_count, without_lowest
from reference.pruning.structured.groups import Graph, Group
from reference.pruning.structured.selection import rounded

STEPS = 1024  # shares that a budget distinguishes


def by_group(
    graph: Graph,
    scores: Mapping[str, Tensor],
    ratio: float | Mapping[str, float],
    multiple: int = 1,
) -> Masks:
    """Each group loses a share of its units.

    Args:
        ratio: for all groups, where each keeps one unit at least; or by group, where groups that
            are not named keep everything.
        multiple: of channels, that a narrower width is rounded to.

    Raises:
        ValueError: scores that are not the graph's, a ratio for no group, not within 0 and 1, of 1
            for all, or that would empty the group it is for.
    """
    _check(graph, scores)
    if not isinstance(ratio, Mapping):
        ratio = dict.fromkeys(scores, _share(ratio))
    elif unknown := sorted(ratio.keys() - scores.keys()):
        raise ValueError(f"ratios name no group: {', '.join(unknown)}")
    else:
        _refuse_emptying(graph, ratio)
    kept = {
        name: max(len(each) - removed_count(len(each), ratio.get(name, 0.0)), 1)
        for name, each in scores.items()
    }
    return _best(graph, scores, kept, multiple)


def overall(
    graph: Graph,
    scores: Mapping[str, Tensor],
    ratio: float,
    multiple: int = 1,
    least: int = 1,
) -> Masks:
    """All units in one comparison. Widths are rounded after it.

    Args:
        least: units that every group keeps, or all of its units if it has fewer. Where too many are
            spared for the ratio to be met, fewer are removed.

    Raises:
        ValueError: scores that are not the graph's, a ratio not within 0 and 1 or of 1, or `least`
            below 1.
    """
    _check(graph, scores)
    if least < 1:
        raise ValueError(f"least must be at least 1, or a layer could be emptied; got {least}")
    spared = {
        name: without_lowest(each, max(len(each) - least, 0)) for name, each in scores.items()
    }
    raised = {name: each.masked_fill(spared[name], math.inf) for name, each in scores.items()}
    masks = global_masks(raised, _share(ratio))
    kept = {name: int((masks[name] | spared[name]).sum()) for name in scores}
    return _best(graph, raised, kept, multiple)


def within_budget(
    choose: Callable[[float], Masks], cost: Callable[[Masks], float], budget: float
) -> Masks:
    """The masks of the smallest ratio that cost no more than the budget.

    Args:
        choose: masks for a ratio: `by_group` or `overall`, the rest of their arguments given.
        cost: of the network that these masks leave; it must not rise with the ratio.

    Raises:
        ValueError: even the largest ratio is dearer.
    """
    cheapest = choose((STEPS - 1) / STEPS)
    if cost(cheapest) > budget:
        raise ValueError(
            f"nothing costs {budget:g} or less; the least to be had is {cost(cheapest):g}"
        )
    dear, cheap = -1, STEPS - 1
    while cheap - dear > 1:
        middle = (dear + cheap) // 2
        if cost(choose(middle / STEPS)) <= budget:
            cheap = middle
        else:
            dear = middle
    return choose(cheap / STEPS)


def _best(
    graph: Graph, scores: Mapping[str, Tensor], kept: Mapping[str, int], multiple: int
) -> Masks:
    counts = {name: _width(graph.groups[name], kept[name], multiple) for name in scores}
    return {name: without_lowest(each, len(each) - counts[name]) for name, each in scores.items()}


def _width(group: Group, kept: int, multiple: int) -> int:
    """In units."""
    return rounded(kept, group.size, multiple // math.gcd(multiple, group.channels))


def _share(ratio: float) -> float:
    if ratio == 1:
        raise ValueError("a ratio of 1 would empty every layer; it must be below 1")
    return float(ratio)


def _refuse_emptying(graph: Graph, ratios: Mapping[str, float]) -> None:
    for name, ratio in ratios.items():
        size = graph.groups[name].size
        if removed_count(size, ratio) == size:
            raise ValueError(f"a ratio of {ratio} would empty {name!r}, which has {size} units")


def _check(graph: Graph, scores: Mapping[str, Tensor]) -> None:
    if not graph.groups:
        reasons = "; ".join(f"{name}: {why}" for name, why in graph.staying.items())
        raise ValueError(f"the network has no channels that could be removed ({reasons})")
    sizes = {name: (group.size,) for name, group in graph.groups.items()}
    given = {name: tuple(each.shape) for name, each in scores.items()}
    if sizes != given:
        odd = sorted(name for name in sizes | given if sizes.get(name) != given.get(name))
        raise ValueError(f"scores do not match the groups of the graph: {', '.join(odd)}")
