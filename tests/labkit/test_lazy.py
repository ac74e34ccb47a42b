"""A notebook starts at once: what takes seconds to import is imported where it is used."""

import json
import subprocess
import sys

import pytest

import labkit

SECONDS = {"torch", "datasets", "transformers", "onnx", "onnxruntime", "matplotlib", "pandas"}
ON_USE = SECONDS - {"torch"} | {"compressed_tensors", "gguf", "tokenizers"}


def _loaded_after(code: str) -> set[str]:
    """The top-level modules that a fresh process has loaded after running the code."""
    code += "\nimport json, sys; print(json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True
    )
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_labkit_itself_imports_nothing_that_takes_seconds() -> None:
    assert _loaded_after("import labkit; dir(labkit)") & (SECONDS | ON_USE) == set()


def test_naming_data_models_and_baselines_loads_no_library_beyond_torch() -> None:
    code = """
from labkit import baselines, data, evaluation, models, pretrained, tasks, text, training
from labkit import tokenizers
baselines.names(), tokenizers.names(), data.names(), pretrained.names()
models.build(models.ResNetSpec(width=8, blocks=1))
"""
    assert _loaded_after(code) & ON_USE == set()


def test_a_hugging_face_model_loads_transformers() -> None:
    """The names above are spelled as sys.modules spells them."""
    code = "from labkit import models; models.build(models.GptSpec(width=8, depth=1, heads=1))"
    assert "transformers" in _loaded_after(code)


@pytest.mark.parametrize("name", dir(labkit))
def test_every_name_that_labkit_offers_can_be_had(name: str) -> None:
    assert getattr(labkit, name).__name__ in (name, f"labkit.{name}")


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(AttributeError, match=r"'dataset'.*baselines.*submit"):
        labkit.dataset  # noqa: B018
