"""Computes every grid anew although static ones are given."""

# wrong: 03/test-mlp-logits


def mlp_logits(
    layers: list, images: Tensor, per_row: bool, static: list[tuple[Tensor, Tensor]] | None = None
) -> Tensor:
    x = images.flatten(1)
    for index, layer in enumerate(layers):
        x = x.relu() if index > 0 else x
        x = quantized_linear(x, *activation_grid(x, per_row), *layer)
    return x
