"""Rounds every layer except the one that is named."""

# wrong: 04/test-layer-sensitivity


def layer_sensitivity(model: torch.nn.Module, images: Tensor, bits: int) -> dict[str, float]:
    quality = {}
    with torch.no_grad():
        exact = model(images)
        for name, layer in model.named_modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                rounded = copy.deepcopy(model)
                for other, part in rounded.named_modules():
                    if other != name and isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
                        part.weight.data = round_weight(part.weight.data, bits)
                quality[name] = sqnr(exact, rounded(images))
    return quality
