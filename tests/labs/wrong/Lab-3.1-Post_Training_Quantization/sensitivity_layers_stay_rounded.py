"""Does not put the weight back, so each layer is measured with all before it rounded."""

# wrong: 04/test-layer-sensitivity


def layer_sensitivity(model: torch.nn.Module, images: Tensor, bits: int) -> dict[str, float]:
    quality = {}
    with torch.no_grad():
        exact = model(images)
        for name, layer in model.named_modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.weight.data = round_weight(layer.weight.data, bits)
                quality[name] = sqnr(exact, model(images))
    return quality
