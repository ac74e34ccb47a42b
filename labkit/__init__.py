"""What a student's notebook imports: data, models, baselines, training, export, submit, plots.

The submodules load on first use, because torch and onnxruntime take seconds to import.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.submission import submit as submit

_SUBMODULES = (
    "baselines", "data", "draws", "evaluation", "export", "footprint", "models", "plots",
    "pretrained", "registry", "submission", "tasks", "text", "timing", "tokenizers", "training",
)  # fmt: skip


def __getattr__(name: str) -> ModuleType | Any:
    if name == "submit":
        return import_module("labkit.submission").submit
    if name in _SUBMODULES:
        return import_module(f"labkit.{name}")
    raise AttributeError(f"labkit has no {name!r}; it has {', '.join(_SUBMODULES)} and submit")


def __dir__() -> list[str]:
    return [*_SUBMODULES, "submit"]
