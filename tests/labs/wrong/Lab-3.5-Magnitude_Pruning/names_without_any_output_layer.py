"""Leaves out lm_head always, shared or not."""

# wrong: 01/test-prunable-names


def prunable_names(model: nn.Module) -> list[str]:
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    return [
        f"{name}.weight"
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d | Conv1D)
        and id(part.weight) not in tables
        and name != "lm_head"
    ]
