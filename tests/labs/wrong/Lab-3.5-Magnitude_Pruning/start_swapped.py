"""Swaps the two states."""

# wrong: 03/test-retraining-start


def retraining_start(
    kind: str, rewound: dict[str, Tensor], trained: dict[str, Tensor], masks: dict[str, Tensor]
) -> dict[str, Tensor]:
    if kind not in ("weights", "learning rate", "fine-tuning"):
        raise ValueError(f"{kind!r} is no way to train again")
    state = trained if kind == "weights" else rewound
    return {
        name: value.masked_fill(~masks[name], 0) if name in masks else value.clone()
        for name, value in state.items()
    }
