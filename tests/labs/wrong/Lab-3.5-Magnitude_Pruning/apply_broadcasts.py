"""A mask of another shape is broadcast."""

# wrong: 01/test-apply-masks


def apply_masks(state: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[str, Tensor]:
    for name in masks:
        if name not in state:
            raise ValueError(f"the mask of {name!r} fits no tensor")
    return {
        name: value.masked_fill(~masks[name], 0) if name in masks else value
        for name, value in state.items()
    }
