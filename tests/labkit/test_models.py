from dataclasses import replace

import pytest
import torch

from autograder import hidden
from labkit import baselines, data
from labkit.models import MlpSpec, ResNetSpec, build, spec_from_dict, spec_to_dict
from labkit.training import TrainingConfig, accuracy, fit, flip_and_crop, logits


@pytest.mark.parametrize("spec", [ResNetSpec(), ResNetSpec(16, 1, batch_norm=False), MlpSpec()])
def test_a_spec_survives_json(spec: ResNetSpec | MlpSpec) -> None:
    assert spec_from_dict(spec_to_dict(spec)) == spec


@pytest.mark.parametrize("fields", [{}, {"family": "gan"}, {"family": "mlp", "depth": 3}])
def test_a_bad_spec_is_refused_by_name(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"family|depth"):
        spec_from_dict(fields)


def test_without_batch_norm_every_convolution_has_a_bias() -> None:
    model = build(replace(ResNetSpec(), batch_norm=False))
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(conv.bias is not None for conv in convolutions)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())


@pytest.mark.parametrize("name", baselines.names())
def test_a_baseline_is_as_good_as_its_record(name: str) -> None:
    """On 2,000 hidden images the standard error is 0.6 points; four of them are allowed."""
    record = baselines.record(name)
    examples = hidden.load(record.dataset, 2000)
    assert abs(accuracy(baselines.load(name), examples) - record.test_accuracy) < 0.025


@pytest.mark.parametrize("name", baselines.names())
def test_a_baseline_is_small_enough_to_ship(name: str) -> None:
    assert baselines.weights_path(name).stat().st_size < 10_000_000


def test_an_unknown_baseline_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="resnet_cifar10"):
        baselines.load("resnet_imagenet")


def _toy() -> data.Batch:
    images = torch.randn(256, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return data.Batch(images, (images.mean(dim=(1, 2, 3)) > 0).long())


def test_training_learns_and_is_the_same_every_time() -> None:
    config = TrainingConfig(epochs=6, batch_size=32, learning_rate=0.05)
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model = build(MlpSpec(16, (32,), 2))
        history = fit(model, _toy(), _toy(), config)
        found.append((history, logits(model, _toy().images)))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][0][-1].validation_accuracy > 0.9


def test_patience_stops_training_and_the_best_epoch_is_kept() -> None:
    torch.manual_seed(0)
    model = build(MlpSpec(16, (8,), 2))
    config = TrainingConfig(epochs=50, batch_size=64, learning_rate=0.1, patience=3)
    history = fit(model, _toy(), _toy(), config)
    best = max(record.validation_accuracy for record in history)
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
