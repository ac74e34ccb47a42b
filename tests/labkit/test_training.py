from dataclasses import replace

import pytest
import torch

from labkit.data import Batch
from labkit.evaluation import accuracy, logits, perplexity
from labkit.models import GptSpec, MlpSpec, TextTransformerSpec, build
from labkit.tasks import ImageClassification, LanguageModelling, TextClassification, flip_and_crop
from labkit.text import TokenBatch
from labkit.training import TrainingConfig, fit


def _toy() -> Batch:
    images = torch.randn(256, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return Batch(images, (images.mean(dim=(1, 2, 3)) > 0).long())


def _toy_texts() -> TokenBatch:
    """The label is whether token 1 stands anywhere."""
    ids = torch.randint(1, 20, (256, 8), generator=torch.Generator().manual_seed(0))
    return TokenBatch(ids, torch.ones_like(ids), (ids == 1).any(dim=1).long())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_learns_and_is_the_same_every_time(optimizer: str) -> None:
    rate = 0.05 if optimizer == "sgd" else 0.01
    config = TrainingConfig(epochs=6, batch_size=32, learning_rate=rate, optimizer=optimizer)  # type: ignore[arg-type]
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model = build(MlpSpec(16, (32,), 2))
        history = fit(model, ImageClassification(_toy(), _toy()), config)
        found.append((history, logits(model, _toy().images)))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][0][-1].validation_score > 0.9


def test_dropout_too_is_the_same_every_time() -> None:
    spec = TextTransformerSpec(20, width=16, depth=1, heads=2, ffn=16, max_tokens=8, dropout=0.5)
    config = TrainingConfig(epochs=2, batch_size=64, optimizer="adamw", learning_rate=1e-3)
    losses = []
    for noise in range(2):
        torch.manual_seed(0)
        model = build(spec)
        torch.manual_seed(noise)  # what happened before training does not matter
        losses.append(fit(model, TextClassification(_toy_texts(), _toy_texts()), config))
    assert losses[0] == losses[1]


def test_a_text_classifier_learns_to_find_a_token() -> None:
    torch.manual_seed(0)
    model = build(TextTransformerSpec(20, width=32, depth=1, heads=2, ffn=32, max_tokens=8))
    config = TrainingConfig(epochs=25, batch_size=32, optimizer="adamw", learning_rate=5e-3)
    fit(model, TextClassification(_toy_texts(), _toy_texts()), config)
    assert accuracy(model, _toy_texts()) > 0.95


def test_a_language_model_learns_to_count() -> None:
    """After training on counting modulo ten, the next number is no surprise."""
    windows = (torch.arange(64)[:, None] * 3 + torch.arange(12)) % 10
    torch.manual_seed(0)
    model = build(GptSpec(vocabulary=10, width=32, depth=1, heads=2, context=12))
    before = perplexity(model, windows)
    config = TrainingConfig(epochs=40, batch_size=16, optimizer="adamw", learning_rate=5e-3)
    fit(model, LanguageModelling(windows, windows), config)
    assert before > 8
    assert perplexity(model, windows) < 1.5


def test_what_is_frozen_does_not_move() -> None:
    model = build(MlpSpec(16, (8,), 2))
    first = model.layers[0].weight.requires_grad_(False)
    before = first.clone()
    config = TrainingConfig(epochs=1, learning_rate=0.1)
    fit(model, ImageClassification(_toy(), _toy()), config)
    assert torch.equal(model.layers[0].weight, before)


def test_adamw_decays_matrices_and_nothing_else() -> None:
    """With a gradient of zero, decay is all that moves a weight."""

    class Nothing:
        rows = 8

        def loss(self, model: torch.nn.Module, *_: object) -> torch.Tensor:
            return sum((p.sum() * 0 for p in model.parameters()), torch.zeros(()))

        def score(self, _: torch.nn.Module) -> float:
            return 0.0

    model = build(replace(TextTransformerSpec(), vocabulary=20, depth=1))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    config = TrainingConfig(epochs=1, optimizer="adamw", learning_rate=0.1, weight_decay=0.5)
    history = fit(model, Nothing(), config)
    assert history[0].train_loss == 0
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    # The best epoch's state is kept, which is the one after the only step.
    assert moved == {n for n in before if n.endswith("weight") and before[n].dim() == 2} - {
        "tokens.weight",
        "positions.weight",
    }


def test_patience_stops_training_and_the_best_epoch_is_kept() -> None:
    torch.manual_seed(0)
    model = build(MlpSpec(16, (8,), 2))
    config = TrainingConfig(epochs=50, batch_size=64, learning_rate=0.1, patience=3)
    history = fit(model, ImageClassification(_toy(), _toy()), config)
    best = max(record.validation_score for record in history)
    assert len(history) < 50
    assert accuracy(model, _toy()) == best


def test_augmentation_keeps_shape_and_moves_pixels() -> None:
    images = torch.randn(8, 3, 32, 32)
    moved = flip_and_crop(images, torch.Generator().manual_seed(1))
    assert moved.shape == images.shape
    assert not torch.equal(moved, images)
    still = flip_and_crop(images, torch.Generator().manual_seed(1), padding=0)
    for one, other in zip(images, still, strict=True):
        assert torch.equal(one, other) or torch.equal(one.flip(-1), other)
