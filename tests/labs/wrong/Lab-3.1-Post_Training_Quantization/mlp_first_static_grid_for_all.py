"""Uses the grid of the first layer in each."""

# wrong: 03/test-mlp-logits


def mlp_logits(
    layers: list, images: Tensor, per_row: bool, static: list[tuple[Tensor, Tensor]] | None = None
) -> Tensor:
    x = images.flatten(1)
    for index, layer in enumerate(layers):
        x = x.relu() if index > 0 else x
        grid = activation_grid(x, per_row) if static is None else static[0]
        x = quantized_linear(x, *grid, *layer)
    return x
