"""Lets torch's optimizer train the kept weights alone, as one vector."""

# right: 03


def masked_sgd(
    weight: Tensor,
    mask: Tensor,
    velocity: Tensor,
    gradients: list[Tensor],
    rate: float,
    momentum: float,
    decay: float,
) -> tuple[Tensor, Tensor]:
    inside = nn.Parameter(weight[mask].clone())
    optimizer = torch.optim.SGD([inside], lr=rate, momentum=momentum or 1e-30, weight_decay=decay)
    optimizer.state[inside]["momentum_buffer"] = velocity[mask].clone()
    for gradient in gradients:
        inside.grad = gradient[mask].clone()
        optimizer.step()
    found = torch.zeros_like(weight), torch.zeros_like(weight)
    found[0][mask] = inside.detach()
    found[1][mask] = optimizer.state[inside]["momentum_buffer"]
    return found
