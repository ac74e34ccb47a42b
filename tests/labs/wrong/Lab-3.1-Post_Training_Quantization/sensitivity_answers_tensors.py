"""Collects tensors, where floats are asked."""

# wrong: 04/test-layer-sensitivity


def layer_sensitivity(model: torch.nn.Module, images: Tensor, bits: int) -> dict[str, Tensor]:
    quality = {}
    with torch.no_grad():
        exact = model(images)
        for name, layer in model.named_modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                original = layer.weight.data
                layer.weight.data = round_weight(original, bits)
                error = exact - model(images)
                quality[name] = 10 * (exact.square().sum() / error.square().sum()).log10()
                layer.weight.data = original
    return quality
