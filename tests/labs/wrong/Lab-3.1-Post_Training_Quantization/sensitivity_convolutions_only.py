"""Forgets the linear layers."""

# wrong: 04/test-layer-sensitivity


def layer_sensitivity(model: torch.nn.Module, images: Tensor, bits: int) -> dict[str, float]:
    quality = {}
    with torch.no_grad():
        exact = model(images)
        for name, layer in model.named_modules():
            if isinstance(layer, torch.nn.Conv2d):
                original = layer.weight.data
                layer.weight.data = round_weight(original, bits)
                quality[name] = sqnr(exact, model(images))
                layer.weight.data = original
    return quality
