"""Covers the values of x alone, so zero has no code where all are positive."""

# wrong: 03/test-activation-grid


def activation_grid(x: Tensor, per_row: bool) -> tuple[Tensor, Tensor]:
    low, high = (x.amin(1, keepdim=True), x.amax(1, keepdim=True)) if per_row else x.aminmax()
    scale = (high - low) / 255
    scale = torch.where(scale == 0, 1.0, scale)
    return scale, (-low / scale).round().to(torch.int32)
