"""Ignores per_row: one range for all rows, repeated."""

# wrong: 03/test-activation-grid
# carries: test-mlp-logits


def activation_grid(x: Tensor, per_row: bool) -> tuple[Tensor, Tensor]:
    low, high = x.aminmax()
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = torch.where(high == low, 1.0, (high - low) / 255)
    zero = (-low / scale).round().to(torch.int32)
    return (scale.expand(len(x), 1), zero.expand(len(x), 1)) if per_row else (scale, zero)
