"""Does not know that GPT-2's linear layers are Conv1D."""

# wrong: 01/test-prunable-names


def prunable_names(model: nn.Module) -> list[str]:
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    return [
        f"{name}.weight"
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d) and id(part.weight) not in tables
    ]
