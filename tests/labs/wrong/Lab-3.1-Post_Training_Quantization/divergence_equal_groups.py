"""Gives each group kept // levels bins, and the rest to the last."""

# wrong: 04/test-divergence


def divergence(counts: Tensor, kept: int, levels: int) -> float:
    inside = counts[:kept].double()
    p = inside.clone()
    p[-1] += counts[kept:].double().sum()
    group = (torch.arange(kept) // (kept // levels)).clamp(max=levels - 1)
    filled = (inside > 0).double()
    total = torch.zeros(levels, dtype=torch.float64).index_add(0, group, inside)
    sharing = torch.zeros(levels, dtype=torch.float64).index_add(0, group, filled)
    q = filled * (total / sharing.clamp(min=1))[group]
    p, q = p / p.sum(), (q / q.sum()).clamp(min=1e-9)
    seen = p > 0
    return (p[seen] * (p[seen] / q[seen]).log()).sum().item()
