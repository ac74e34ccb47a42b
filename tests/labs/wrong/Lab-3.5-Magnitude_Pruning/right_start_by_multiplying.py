"""A table of the three kinds, and products with masks."""

# right: 03


def retraining_start(
    kind: str, rewound: dict[str, Tensor], trained: dict[str, Tensor], masks: dict[str, Tensor]
) -> dict[str, Tensor]:
    states = {"weights": rewound, "learning rate": trained, "fine-tuning": trained}
    if kind not in states:
        raise ValueError("unknown")
    return {
        name: value * masks[name] if name in masks else value * 1
        for name, value in states[kind].items()
    }
