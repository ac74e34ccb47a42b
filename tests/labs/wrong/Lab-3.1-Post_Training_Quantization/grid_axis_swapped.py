"""Takes the extremes of each feature over the rows, not of each row."""

# wrong: 03/test-activation-grid
# carries: test-mlp-logits


def activation_grid(x: Tensor, per_row: bool) -> tuple[Tensor, Tensor]:
    low, high = (x.amin(0, keepdim=True), x.amax(0, keepdim=True)) if per_row else x.aminmax()
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, 1.0, scale)
    return scale, (-low / scale).round().to(torch.int32)
