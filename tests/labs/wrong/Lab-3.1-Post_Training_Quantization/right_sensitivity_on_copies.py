"""Rounds one layer of a fresh copy each time, and leaves the model alone."""

# right: 04


def layer_sensitivity(model: torch.nn.Module, images: Tensor, bits: int) -> dict[str, float]:
    with torch.inference_mode():
        exact, found = model(images), {}
        for name, layer in model.named_modules():
            if hasattr(layer, "weight") and layer.weight.dim() > 1:
                other = copy.deepcopy(model)
                part = other.get_submodule(name)
                part.weight.data = round_weight(part.weight.data, bits)
                found[name] = sqnr(exact, other(images))
    return found
