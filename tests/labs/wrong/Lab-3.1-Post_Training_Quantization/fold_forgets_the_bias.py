"""Assumes that a convolution before a batch norm has no bias."""

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
    factor = gamma / (variance + eps).sqrt()
    return weight * factor.reshape(-1, 1, 1, 1), beta - mean * factor
