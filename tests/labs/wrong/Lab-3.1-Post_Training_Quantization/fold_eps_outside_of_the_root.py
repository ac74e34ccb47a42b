"""Adds eps to the standard deviation and not to the variance."""

# wrong: 02/test-fold-batch-norm


def fold_batch_norm(
    weight: Tensor,
    bias: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor]:
    factor = gamma / (variance.sqrt() + eps)
    return weight * factor.reshape(-1, 1, 1, 1), beta + (bias - mean) * factor
