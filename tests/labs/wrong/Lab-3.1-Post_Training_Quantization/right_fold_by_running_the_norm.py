"""Sends a unit and a zero through the batch norm and reads factor and offset off."""

# right: 02


def fold_batch_norm(
    weight: Tensor,
    bias: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor]:
    def norm(x):
        return torch.nn.functional.batch_norm(x[None], mean, variance, gamma, beta, eps=eps)[0]

    offset = norm(torch.zeros_like(mean))
    factor = norm(torch.ones_like(mean)) - offset
    return torch.einsum("o...,o->o...", weight, factor), offset + factor * bias
