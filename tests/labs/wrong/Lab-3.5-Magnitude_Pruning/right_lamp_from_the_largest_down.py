"""Walks from the largest to the smallest with a running sum."""

# right: 02


def lamp_scores(weight: Tensor) -> Tensor:
    sizes = [value**2 for value in weight.flatten().double().tolist()]
    scores, total = [0.0] * len(sizes), 0.0
    for place in sorted(range(len(sizes)), key=lambda i: (sizes[i], i), reverse=True):
        total += sizes[place]
        scores[place] = sizes[place] / total if total else 0.0
    return torch.tensor(scores, dtype=torch.float64).reshape(weight.shape)
