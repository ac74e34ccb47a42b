"""Swaps the weight by functional_call, without touching the model."""

# right: 04

from torch.func import functional_call


def layer_sensitivity(model: torch.nn.Module, images: Tensor, bits: int) -> dict[str, float]:
    with torch.no_grad():
        exact = model(images)
        return {
            name.removesuffix(".weight"): sqnr(
                exact, functional_call(model, {name: round_weight(weight, bits)}, (images,))
            )
            for name, weight in model.named_parameters()
            if weight.dim() > 1
        }
