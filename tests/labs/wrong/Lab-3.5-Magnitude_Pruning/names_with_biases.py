"""Takes the biases of these layers, too."""

# wrong: 01/test-prunable-names


def prunable_names(model: nn.Module) -> list[str]:
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    return [
        f"{name}.{own}"
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d | Conv1D) and id(part.weight) not in tables
        for own, _ in part.named_parameters(recurse=False)
    ]
