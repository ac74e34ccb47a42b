"""torch.where on all, with masks of ones where there are none."""

# right: 01


def apply_masks(state: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[str, Tensor]:
    if any(name not in state for name in masks):
        raise ValueError("a mask of nothing")
    for name in masks:
        if masks[name].shape != state[name].shape:
            raise ValueError("a mask of another shape")
    every = {
        name: masks.get(name, torch.ones_like(value, dtype=torch.bool))
        for name, value in state.items()
    }
    return {
        name: torch.where(every[name], value, torch.zeros_like(value))
        for name, value in state.items()
    }
