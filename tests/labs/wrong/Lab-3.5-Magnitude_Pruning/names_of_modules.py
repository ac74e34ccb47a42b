"""Names the modules, not their weights."""

# wrong: 01/test-prunable-names


def prunable_names(model: nn.Module) -> list[str]:
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    return [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d | Conv1D) and id(part.weight) not in tables
    ]
