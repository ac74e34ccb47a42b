"""Zeroes what should be kept."""

# wrong: 01/test-apply-masks


def apply_masks(state: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[str, Tensor]:
    for name, mask in masks.items():
        if name not in state or mask.shape != state[name].shape:
            raise ValueError(f"the mask of {name!r} fits no tensor")
    return {
        name: value.masked_fill(masks[name], 0) if name in masks else value
        for name, value in state.items()
    }
