"""Walks over parameters and looks up the module that each belongs to."""

# right: 01


def prunable_names(model: nn.Module) -> list[str]:
    tables = [m.weight for m in model.modules() if isinstance(m, nn.Embedding)]
    found = []
    for name, value in model.named_parameters(remove_duplicate=False):
        owner = model.get_submodule(name.rpartition(".")[0])
        layer = name.endswith("weight") and isinstance(owner, nn.Linear | nn.Conv2d | Conv1D)
        if layer and not any(value is table for table in tables):
            found.append(name)
    return found
