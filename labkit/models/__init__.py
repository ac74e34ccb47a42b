"""The networks of the course: `build` makes one from its spec, `spec_of` reads the spec back.

Our own networks answer with logits; Hugging Face's answer with a record that holds them.
"""

from torch import Tensor, nn

from labkit.models import huggingface
from labkit.models.efficientnet import EfficientNetLite
from labkit.models.mlp import Mlp
from labkit.models.resnet import Block, ConvNorm, ResNet
from labkit.models.specs import (
    FAMILIES,
    BertSpec,
    EfficientNetLiteSpec,
    GptSpec,
    LlamaSpec,
    MlpSpec,
    ResNetSpec,
    Spec,
    TextTransformerSpec,
    VitSpec,
    layer_count,
    spec_from_dict,
    spec_to_dict,
)
from labkit.models.text_transformer import Attention, Layer, TextTransformer

__all__ = [
    "FAMILIES", "Attention", "BertSpec", "Block", "ConvNorm", "EfficientNetLite",
    "EfficientNetLiteSpec", "GptSpec", "Layer", "LlamaSpec", "Mlp", "MlpSpec", "ResNet",
    "ResNetSpec", "Spec", "TextTransformer", "TextTransformerSpec", "VitSpec", "build",
    "layer_count", "logits_in", "spec_from_dict", "spec_of", "spec_to_dict",
]  # fmt: skip


def build(spec: Spec) -> nn.Module:
    """A freshly initialised network for a spec."""
    if isinstance(spec, ResNetSpec):
        return ResNet(spec)
    if isinstance(spec, MlpSpec):
        return Mlp(spec)
    if isinstance(spec, EfficientNetLiteSpec):
        return EfficientNetLite(spec)
    if isinstance(spec, TextTransformerSpec):
        return TextTransformer(spec)
    return huggingface.build(spec)


def spec_of(model: object) -> Spec | None:
    """The spec that describes a model, or None where it is not one of the course's."""
    if isinstance(model, ResNet | Mlp | EfficientNetLite | TextTransformer):
        return model.spec
    return huggingface.spec_of(model) if isinstance(model, nn.Module) else None


def logits_in(answer: object) -> Tensor:
    """The logits of an answer, whether the model gave them bare or in Hugging Face's record."""
    return answer if isinstance(answer, Tensor) else answer.logits  # type: ignore[attr-defined]
