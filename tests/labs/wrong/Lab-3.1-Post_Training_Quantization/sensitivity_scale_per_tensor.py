"""Rounds with one scale for the tensor."""

# wrong: 04/test-layer-sensitivity


def layer_sensitivity(model: torch.nn.Module, images: Tensor, bits: int) -> dict[str, float]:
    quality = {}
    with torch.no_grad():
        exact = model(images)
        for name, layer in model.named_modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                original = layer.weight.data
                layer.weight.data = round_weight(original, bits, per_channel=False)
                quality[name] = sqnr(exact, model(images))
                layer.weight.data = original
    return quality
