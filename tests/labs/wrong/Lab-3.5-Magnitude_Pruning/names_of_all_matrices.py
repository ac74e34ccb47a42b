"""Takes every parameter with two axes or more, embeddings too."""

# wrong: 01/test-prunable-names


def prunable_names(model: nn.Module) -> list[str]:
    return [name for name, value in model.named_parameters() if value.dim() > 1]
