"""Measures the SQNR of the weight, and not of the logits."""

# wrong: 04/test-layer-sensitivity


def layer_sensitivity(model: torch.nn.Module, images: Tensor, bits: int) -> dict[str, float]:
    quality = {}
    with torch.no_grad():
        for name, layer in model.named_modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                quality[name] = sqnr(layer.weight, round_weight(layer.weight, bits))
    return quality
