"""What a network is, as data: a frozen record per family, to JSON and back.

A model is its spec and its state (tensors), nothing else. That is what lets a model cross from
the student's process into the grader's: no pickle and no code, only a record that `build` turns
into a network that we wrote or that Hugging Face did.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ResNetSpec:
    """A residual network for small images: a stem and three stages (He et al. 2016, 4.2)."""

    width: int = 32  # channels of the first stage; each later stage doubles them
    blocks: int = 2  # residual blocks per stage
    in_channels: int = 3
    classes: int = 10
    batch_norm: bool = True  # False: folded into the convolutions, which then have a bias


@dataclass(frozen=True)
class MlpSpec:
    """A perceptron with ReLU between its layers, on flattened images."""

    in_features: int = 784
    hidden: tuple[int, ...] = (512, 512)
    classes: int = 10


@dataclass(frozen=True)
class TextTransformerSpec:
    """A pre-norm Transformer encoder that classifies token sequences (Vaswani et al. 2017)."""

    vocabulary: int = 2048
    width: int = 128
    depth: int = 4
    heads: int = 4
    ffn: int = 512
    max_tokens: int = 64
    classes: int = 2
    dropout: float = 0.1


@dataclass(frozen=True)
class VitSpec:
    """`transformers.ViTForImageClassification`, a vision Transformer (Dosovitskiy et al. 2021)."""

    width: int = 192
    depth: int = 6
    heads: int = 3
    ffn: int = 384
    image_size: int = 32
    patch: int = 4
    in_channels: int = 3
    classes: int = 10


@dataclass(frozen=True)
class BertSpec:
    """A BERT classifier (Devlin et al. 2019) as `transformers.BertForSequenceClassification`.

    The defaults are MiniLM-L6's (Wang et al. 2020).
    """

    vocabulary: int = 30522
    width: int = 384
    depth: int = 6
    heads: int = 12
    ffn: int = 1536
    max_tokens: int = 512
    classes: int = 2


@dataclass(frozen=True)
class GptSpec:
    """A decoder in GPT-2's layout (Radford et al. 2019) as `transformers.GPT2LMHeadModel`."""

    vocabulary: int = 1024
    width: int = 192
    depth: int = 4
    heads: int = 6
    context: int = 256


@dataclass(frozen=True)
class LlamaSpec:
    """A decoder in Llama's layout (Touvron et al. 2023) as `transformers.LlamaForCausalLM`."""

    vocabulary: int = 1024
    width: int = 192
    depth: int = 5
    heads: int = 6
    kv_heads: int = 2  # fewer than heads: grouped-query attention (Ainslie et al. 2023)
    ffn: int = 512
    context: int = 256
    tied: bool = True  # the output layer shares the embedding's weights


@dataclass(frozen=True)
class EfficientNetLiteSpec:
    """The defaults are lite0's. lite1 to lite4 multiply width and depth, and see larger images."""

    width: float = 1.0  # multiplies the channels of every stage
    depth: float = 1.0  # multiplies the repeats of every stage but the first and the last
    in_channels: int = 3
    classes: int = 1000
    dropout: float = 0.2


Spec = (
    ResNetSpec | MlpSpec | EfficientNetLiteSpec | TextTransformerSpec
    | VitSpec | BertSpec | GptSpec | LlamaSpec
)  # fmt: skip
FAMILIES: dict[str, type[Spec]] = {
    "resnet": ResNetSpec,
    "mlp": MlpSpec,
    "efficientnet_lite": EfficientNetLiteSpec,
    "text_transformer": TextTransformerSpec,
    "vit": VitSpec,
    "bert": BertSpec,
    "gpt": GptSpec,
    "llama": LlamaSpec,
}


def layer_count(spec: Spec) -> int:
    """How many repeated layers a spec asks for; each of them has parameters of its own."""
    if isinstance(spec, ResNetSpec):
        return spec.blocks
    if isinstance(spec, EfficientNetLiteSpec):
        return math.ceil(spec.depth)
    return len(spec.hidden) if isinstance(spec, MlpSpec) else spec.depth


def spec_to_dict(spec: Spec) -> dict[str, Any]:
    family = next(name for name, kind in FAMILIES.items() if isinstance(spec, kind))
    return {"family": family, **asdict(spec)}


def spec_from_dict(fields: Mapping[str, Any]) -> Spec:
    """The inverse of `spec_to_dict`.

    Raises:
        ValueError: an unknown family, or a field that the family does not have.
    """
    values = dict(fields)
    family = values.pop("family", None)
    if family not in FAMILIES:
        raise ValueError(f"family is {family!r}; expected one of {sorted(FAMILIES)}")
    arguments: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
    }
    try:
        return FAMILIES[family](**arguments)
    except TypeError as error:
        raise ValueError(f"{family}: {error}") from error
