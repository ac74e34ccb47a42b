"""Rewinds and forgets the mask."""

# wrong: 03/test-retraining-start


def retraining_start(
    kind: str, rewound: dict[str, Tensor], trained: dict[str, Tensor], masks: dict[str, Tensor]
) -> dict[str, Tensor]:
    if kind not in ("weights", "learning rate", "fine-tuning"):
        raise ValueError(f"{kind!r} is no way to train again")
    state = rewound if kind == "weights" else trained
    return {name: value.clone() for name, value in state.items()}
