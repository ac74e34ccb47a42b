"""Computes D(Q || P), with the two distributions exchanged."""

# wrong: 04/test-divergence


def divergence(counts: Tensor, kept: int, levels: int) -> float:
    inside = counts[:kept].double()
    p = inside.clone()
    p[-1] += counts[kept:].double().sum()
    group = torch.zeros(kept, dtype=torch.long)
    group[torch.arange(1, levels) * kept // levels] = 1
    group = group.cumsum(0)
    filled = (inside > 0).double()
    total = torch.zeros(levels, dtype=torch.float64).index_add(0, group, inside)
    sharing = torch.zeros(levels, dtype=torch.float64).index_add(0, group, filled)
    q = filled * (total / sharing.clamp(min=1))[group]
    p, q = p / p.sum(), (q / q.sum()).clamp(min=1e-9)
    seen = p > 0
    p = p.clamp(min=1e-9)
    return (q[seen] * (q[seen] / p[seen]).log()).sum().item()
