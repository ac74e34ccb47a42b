"""Chains the layers, which then are one."""

# wrong: 03/test-mlp-logits


def mlp_logits(
    layers: list, images: Tensor, per_row: bool, static: list[tuple[Tensor, Tensor]] | None = None
) -> Tensor:
    x = images.flatten(1)
    for index, layer in enumerate(layers):
        grid = activation_grid(x, per_row) if static is None else static[index]
        x = quantized_linear(x, *grid, *layer)
    return x
