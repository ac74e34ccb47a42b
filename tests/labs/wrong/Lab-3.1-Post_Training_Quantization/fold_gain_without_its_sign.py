"""Takes the size of gamma, which may be negative."""

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
    factor = gamma.abs() / (variance + eps).sqrt()
    return weight * factor.reshape(-1, 1, 1, 1), beta + (bias - mean) * factor
