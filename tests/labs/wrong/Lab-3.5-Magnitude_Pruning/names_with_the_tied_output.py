"""Takes the output layer that shares the embedding's weight."""

# wrong: 01/test-prunable-names


def prunable_names(model: nn.Module) -> list[str]:
    return [
        f"{name}.weight"
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d | Conv1D)
    ]
