"""Writes the weights of all batches down at once, in float64."""

# right: 02


def moving_average_range(lows: Tensor, highs: Tensor, momentum: float) -> tuple[float, float]:
    age = torch.arange(len(lows) - 1, -1, -1).double()
    weights = momentum**age * torch.where(age == len(lows) - 1, 1.0, 1 - momentum)
    return (weights @ lows.double()).item(), (weights @ highs.double()).item()
