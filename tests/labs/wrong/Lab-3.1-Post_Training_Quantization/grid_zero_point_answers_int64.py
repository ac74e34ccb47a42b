"""Is right but for the type: int64, where int32 is asked."""

# wrong: 03/test-activation-grid


def activation_grid(x: Tensor, per_row: bool) -> tuple[Tensor, Tensor]:
    low, high = (x.amin(1, keepdim=True), x.amax(1, keepdim=True)) if per_row else x.aminmax()
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, 1.0, scale)
    return scale, (-low / scale).round().long()
