"""Trained baselines, shipped as safetensors beside the record of how they were measured."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

from labkit import data
from labkit.baselines import cards, low_rank
from labkit.intervals import Score
from labkit.models import Spec, build, spec_from_dict, spec_to_dict

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
    validation: Score
    test: Score  # on the hidden part, which chose nothing
    comparisons: dict[str, float] = field(default_factory=dict)  # of the test figure's metric


def load(name: str) -> nn.Module:
    """A trained baseline in evaluation mode.

    Raises:
        ValueError: there is no baseline of that name.
    """
    entry = _entry(name)
    if entry["base"] is not None:
        return _tuned(entry["base"], name)
    model = build(spec_from_dict(entry["spec"]))
    load_model(model, weights_path(name))
    return model.eval()


def record(name: str) -> BaselineRecord:
    fields = dict(_entry(name)["record"])
    fields |= {part: Score(**fields[part]) for part in ("validation", "test")}
    return BaselineRecord(**fields)


def card(name: str) -> str:
    """The model card in Markdown: what it is and learned from, how good it is, its limits."""
    entry, measured = _entry(name), record(name)
    licence = data.SETS[measured.dataset].about.licence
    return cards.render(measured, entry["spec"], entry["base"], licence)


def names() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def weights_path(name: str) -> Path:
    return _FOLDER / f"{name}.safetensors"


def save(
    spec: Spec,
    model: nn.Module,
    measured: BaselineRecord,
    base: str | None = None,
    tuned: dict[str, Tensor] | None = None,
) -> None:
    """Write weights and record; of a tuned model, what was tuned and the name of its base."""
    path = weights_path(measured.name)
    if tuned is None:
        save_model(model, str(path))  # tensors that layers share are stored once
    else:
        save_file({name: value.contiguous() for name, value in tuned.items()}, path)
    path.chmod(0o644)  # safetensors writes 0600
    entry = {"spec": spec_to_dict(spec), "base": base, "record": asdict(measured)}
    (_FOLDER / f"{measured.name}.json").write_text(json.dumps(entry, indent=2) + "\n")


def _tuned(base: str, name: str) -> nn.Module:
    from labkit import pretrained

    model = pretrained.classifier(base, classes=2, seed=0)
    low_rank.apply(model, load_file(weights_path(name)))
    return model.eval()


def _entry(name: str) -> dict[str, Any]:
    if name not in names():
        raise ValueError(f"there is no baseline {name!r}; there are {', '.join(names())}")
    return json.loads((_FOLDER / f"{name}.json").read_text())
