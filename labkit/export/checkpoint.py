"""Checkpoints in the compressed-tensors layout: a folder with model.safetensors and config.json.

Formats: `pack-quantized` (4-bit codes, eight to an int32) and `sparse-bitmask`. Which of them
`transformers` reads, and how, stands in docs/export.md with the tests that show it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from labkit.export import bitmask, pack_quantized
from labkit.export.int4 import one_grid
from labkit.export.packed import PackedLinear, dequantised
from labkit.models import spec_of, spec_to_dict

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
PACKED, SPARSE = "pack-quantized", "sparse-bitmask"


def save_packed_int4(
    model: nn.Module, folder: Path | str, layers: Mapping[str, PackedLinear]
) -> Path:
    """Write the given layers as 4-bit codes, and the rest of the model as it is.

    Args:
        layers: by name, such as `round_linears(model)` or what GPTQ found.

    Raises:
        ValueError: no layers, layers of several kinds of grid, or one that the model has not.
    """
    group_size, symmetric = one_grid(layers)
    dequantised(model, layers)  # refuses layers that do not fit the model
    state = stored_tensors(model)
    for name, layer in layers.items():
        del state[f"{name}.weight"]
        state.update(pack_quantized.pack(name, layer))
    linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    grid = {
        "num_bits": 4,
        "type": "int",
        "symmetric": symmetric,
        "strategy": "group",
        "group_size": group_size,
    }
    quantization = {
        "quant_method": "compressed-tensors",
        "format": PACKED,
        "quantization_status": "compressed",
        "ignore": [name for name in linear if name not in layers],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": grid}},
    }
    return _write(model, Path(folder), state, quantization)


def save_sparse_bitmask(model: nn.Module, folder: Path | str) -> Path:
    """Write every weight without its zeros, as long as that makes it smaller."""
    state, zeros, total = bitmask.masked(stored_tensors(model))
    sparsity = {
        "format": SPARSE,
        "global_sparsity": zeros / total if total else 0.0,
        "sparsity_structure": "unstructured",
        "targets": sorted({key.rpartition(".")[0] for key in state if key.endswith(".bitmask")}),
        "ignore": [],
    }
    quantization = {"quant_method": "compressed-tensors", "sparsity_config": sparsity}
    return _write(model, Path(folder), state, quantization)


def as_one_file(folder: Path | str) -> bytes:
    """A compressed checkpoint's weights as the one file that is handed in.

    Raises:
        ValueError: a file is missing, or the format is none of ours.
    """
    folder = Path(folder)
    _format_of(folder)
    return (folder / WEIGHTS).read_bytes()


def load_compressed(folder: Path | str, model: nn.Module) -> nn.Module:
    """Fill a model of the same spec with the weights of a folder, in FP32, and return it.

    Raises:
        ValueError: a file is missing, the format is none of ours, or the weights are of another
            model.
    """
    folder = Path(folder)
    quantization = _format_of(folder)
    stored = load_file(folder / WEIGHTS)
    if quantization.get("format") == PACKED:
        state = pack_quantized.unpack(
            stored, quantization["config_groups"]["group_0"]["weights"]["group_size"]
        )
    else:
        state = bitmask.unmasked(stored)
    wanted = set(stored_tensors(model))
    if state.keys() != wanted:
        strange = sorted(state.keys() ^ wanted)
        raise ValueError(f"{folder} holds another model: only one of the two has {strange[0]}")
    model.load_state_dict(state, strict=False)  # what shares a weight with others is not stored
    return model.eval()


def _format_of(folder: Path) -> dict[str, Any]:
    """What the configuration says of the format, if it is one of ours."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} has no {name}; expected {CONFIG} and {WEIGHTS}")
    found = json.loads((folder / CONFIG).read_text()).get("quantization_config", {})
    if found.get("format") != PACKED and found.get("sparsity_config", {}).get("format") != SPARSE:
        raise ValueError(f"{folder / CONFIG} names neither {PACKED} nor {SPARSE} as its format")
    return found


def stored_tensors(model: nn.Module) -> dict[str, Tensor]:
    """A model's tensors by name, each of those that layers share once: what a file holds."""
    first = {name for name, _ in model.named_parameters()}
    again = {name for name, _ in model.named_parameters(remove_duplicate=False)} - first
    return {
        name: value.detach().contiguous()
        for name, value in model.state_dict().items()
        if name not in again
    }


def _write(
    model: nn.Module, folder: Path, state: Mapping[str, Tensor], quantization: Mapping[str, Any]
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(state), folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # safetensors writes 0600
    config = {**_describing(model), "quantization_config": quantization}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    return folder


def _describing(model: nn.Module) -> dict[str, Any]:
    """Hugging Face's own configuration, or the spec of a network of ours."""
    config: Any = getattr(model, "config", None)
    if config is not None:
        return {**config.to_dict(), "architectures": [type(model).__name__]}
    spec = spec_of(model)
    return {} if spec is None else {"labkit_spec": spec_to_dict(spec)}
