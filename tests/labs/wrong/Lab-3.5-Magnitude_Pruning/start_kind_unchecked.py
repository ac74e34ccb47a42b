"""Takes an unknown kind for fine-tuning."""

# wrong: 03/test-retraining-start


def retraining_start(
    kind: str, rewound: dict[str, Tensor], trained: dict[str, Tensor], masks: dict[str, Tensor]
) -> dict[str, Tensor]:
    state = rewound if kind == "weights" else trained
    return {
        name: value.masked_fill(~masks[name], 0) if name in masks else value.clone()
        for name, value in state.items()
    }
