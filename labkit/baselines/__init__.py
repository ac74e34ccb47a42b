"""Trained baselines, shipped as safetensors beside the record of how they were measured."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from labkit.models import Mlp, ResNet, Spec, build, spec_from_dict, spec_to_dict

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class BaselineRecord:
    """What was measured when the baseline was trained, and the command that did it."""

    name: str
    command: str
    dataset: str
    parameters: int
    epochs: int
    seed: int
    train_seconds: float
    validation_accuracy: float  # 0..1
    validation_count: int
    test_accuracy: float
    test_count: int


def load(name: str) -> ResNet | Mlp:
    """A trained baseline in evaluation mode.

    Raises:
        ValueError: there is no baseline of that name.
    """
    model = build(spec_from_dict(_card(name)["spec"]))
    model.load_state_dict(load_file(weights_path(name)))
    return model.eval()


def record(name: str) -> BaselineRecord:
    return BaselineRecord(**_card(name)["record"])


def names() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def weights_path(name: str) -> Path:
    return _FOLDER / f"{name}.safetensors"


def save(spec: Spec, model: nn.Module, measured: BaselineRecord) -> None:
    state: dict[str, Tensor] = {
        key: value.contiguous() for key, value in model.state_dict().items()
    }
    save_file(state, weights_path(measured.name))
    weights_path(measured.name).chmod(0o644)  # safetensors writes 0600
    card = {"spec": spec_to_dict(spec), "record": asdict(measured)}
    (_FOLDER / f"{measured.name}.json").write_text(json.dumps(card, indent=2) + "\n")


def _card(name: str) -> dict[str, dict]:  # type: ignore[type-arg]
    if name not in names():
        raise ValueError(f"there is no baseline {name!r}; there are {', '.join(names())}")
    return json.loads((_FOLDER / f"{name}.json").read_text())
