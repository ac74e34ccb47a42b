"""Builds the grid of each row in a loop of Python numbers."""

# right: 03


def activation_grid(x: Tensor, per_row: bool) -> tuple[Tensor, Tensor]:
    scales, zeros = [], []
    for part in x if per_row else [x]:
        low, high = min(part.min().item(), 0.0), max(part.max().item(), 0.0)
        scale = (
            torch.tensor(high - low, dtype=torch.float32) / 255 if high > low else torch.ones(())
        )
        scales.append(scale)
        zeros.append(torch.round(torch.tensor(-low, dtype=torch.float32) / scale).int())
    shape = (len(scales), 1) if per_row else ()
    return torch.stack(scales).reshape(shape), torch.stack(zeros).reshape(shape)
