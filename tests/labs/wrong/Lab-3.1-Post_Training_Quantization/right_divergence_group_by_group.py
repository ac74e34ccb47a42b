"""Loops over the groups and bins in plain Python."""

# right: 04

import math


def divergence(counts: Tensor, kept: int, levels: int) -> float:
    inside = [float(count) for count in counts[:kept]]
    p, q = list(inside), [0.0] * kept
    p[-1] += float(counts[kept:].double().sum())
    for level in range(levels):
        bins = range(level * kept // levels, (level + 1) * kept // levels)
        filled = [i for i in bins if inside[i] > 0]
        for i in filled:
            q[i] = sum(inside[j] for j in filled) / len(filled)
    mass, other = sum(p), sum(q)
    return sum(
        a / mass * math.log(a / mass / max(b / other, 1e-9))
        for a, b in zip(p, q, strict=True)
        if a > 0
    )
