from dataclasses import replace

import pytest
import torch

from labkit.models import (
    BertSpec,
    EfficientNetLiteSpec,
    GptSpec,
    LlamaSpec,
    MlpSpec,
    ResNetSpec,
    Spec,
    TextTransformerSpec,
    VitSpec,
    build,
    layer_count,
    logits_in,
    spec_from_dict,
    spec_of,
    spec_to_dict,
)

TINY: list[Spec] = [
    ResNetSpec(width=4, blocks=1),
    ResNetSpec(width=4, blocks=2, batch_norm=False),
    MlpSpec(12, (8, 8), 3),
    EfficientNetLiteSpec(width=0.25, depth=0.5, classes=3),
    TextTransformerSpec(vocabulary=50, width=16, depth=2, heads=2, ffn=24, max_tokens=10),
    VitSpec(width=16, depth=2, heads=2, ffn=24, image_size=8, patch=4),
    BertSpec(vocabulary=50, width=16, depth=2, heads=2, ffn=24, max_tokens=10),
    GptSpec(vocabulary=50, width=16, depth=2, heads=2, context=10),
    LlamaSpec(vocabulary=50, width=16, depth=2, heads=4, kv_heads=2, ffn=24, context=10),
    LlamaSpec(vocabulary=50, width=16, depth=2, heads=4, kv_heads=2, ffn=24, tied=False),
]
NAMES = [f"{type(spec).__name__}-{index}" for index, spec in enumerate(TINY)]
LANGUAGE = [spec for spec in TINY if isinstance(spec, GptSpec | LlamaSpec)]
TEXT = [spec for spec in TINY if isinstance(spec, TextTransformerSpec | BertSpec)]


@pytest.mark.parametrize("spec", TINY, ids=NAMES)
def test_a_spec_survives_json(spec: Spec) -> None:
    assert spec_from_dict(spec_to_dict(spec)) == spec


@pytest.mark.parametrize("spec", TINY, ids=NAMES)
def test_a_model_tells_the_spec_that_it_was_built_from(spec: Spec) -> None:
    assert spec_of(build(spec)) == spec


@pytest.mark.parametrize("spec", TINY, ids=NAMES)
def test_every_layer_that_a_spec_asks_for_has_tensors(spec: Spec) -> None:
    """The grader bounds a forged spec's depth by the number of tensors that came with it."""
    assert layer_count(spec) <= len(build(spec).state_dict())


def test_a_model_with_settings_that_no_spec_holds_has_no_spec() -> None:
    """SmolLM2 turns its rotary embedding by another base; a copy from sizes would be wrong."""
    model = build(LANGUAGE[-1])
    model.config.rope_parameters = {"rope_type": "default", "rope_theta": 100_000.0}
    assert spec_of(model) is None


def test_what_is_no_model_of_the_course_has_no_spec() -> None:
    assert spec_of(torch.nn.Linear(2, 2)) is None
    assert spec_of("resnet") is None


@pytest.mark.parametrize("fields", [{}, {"family": "gan"}, {"family": "mlp", "depth": 3}])
def test_a_bad_spec_is_refused_by_name(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"family|depth"):
        spec_from_dict(fields)


def test_without_batch_norm_every_convolution_has_a_bias() -> None:
    model = build(replace(ResNetSpec(), batch_norm=False))
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(conv.bias is not None for conv in convolutions)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())


@pytest.mark.parametrize("spec", TEXT, ids=lambda spec: type(spec).__name__)
def test_padding_does_not_change_a_classifier_s_answer(spec: Spec) -> None:
    """1e-5: float32 sums of some ten terms in another order."""
    model = build(spec).eval()
    ids = torch.randint(50, (3, 6), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    padded = torch.cat([ids, torch.full((3, 4), 7)], dim=1)
    longer = torch.cat([mask, torch.zeros(3, 4, dtype=torch.long)], dim=1)
    short = logits_in(model(ids, attention_mask=mask))
    assert torch.allclose(short, logits_in(model(padded, attention_mask=longer)), atol=1e-5)


def test_a_text_of_padding_alone_has_a_finite_answer() -> None:
    model = build(TEXT[0]).eval()
    nothing = torch.zeros(2, 5, dtype=torch.long)
    assert torch.isfinite(model(nothing, attention_mask=nothing)).all()


@pytest.mark.parametrize("spec", LANGUAGE, ids=lambda spec: type(spec).__name__)
def test_a_language_model_does_not_see_the_future(spec: Spec) -> None:
    model = build(spec).eval()
    ids = torch.randint(50, (2, 8), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 50
    before, after = logits_in(model(ids)), logits_in(model(changed))
    assert torch.allclose(before[:, :5], after[:, :5], atol=1e-6)
    assert not torch.allclose(before[:, 5:], after[:, 5:], atol=1e-3)


def test_a_width_that_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="width 30 does not divide into 4 heads"):
        build(TextTransformerSpec(width=30, heads=4))
