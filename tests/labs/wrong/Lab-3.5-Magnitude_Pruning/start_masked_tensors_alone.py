"""Returns the masked tensors alone."""

# wrong: 03/test-retraining-start


def retraining_start(
    kind: str, rewound: dict[str, Tensor], trained: dict[str, Tensor], masks: dict[str, Tensor]
) -> dict[str, Tensor]:
    if kind not in ("weights", "learning rate", "fine-tuning"):
        raise ValueError("no such way")
    state = rewound if kind == "weights" else trained
    return {name: state[name].masked_fill(~mask, 0) for name, mask in masks.items()}
