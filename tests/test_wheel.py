"""What a student installs: all of labkit, and nothing that gives a grade away."""

import ast
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_string
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import course_config
from autograder import notebook

ROOT = Path(__file__).parents[1]
SITE_PACKAGES = Path(pytest.__file__).parents[1]
PARTS = {"labkit", "autograder", "course_config.py"}
KINDS = {".py", ".json", ".safetensors", ".md", ".j2", ".js"}
LINE_CHARACTERS = 20  # shorter lines, such as `except ValueError:`, stand in any program
NEEDED_UNIMPORTED = {
    "onnxscript": "torch.onnx.export imports it",
    "gguf": "transformers reads SmolLM2's file with it",
    "accelerate": "and reads none without it",
    "compressed-tensors": "transformers imports it for checkpoints in its layout",
    "ipykernel": "the kernel of the notebooks",
}


def _build(folder: Path, umask: int) -> Path:
    command = [sys.executable, str(ROOT / "scripts" / "student_wheel.py"), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, umask=umask)
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("wheel"), 0o022)


@pytest.fixture(scope="module")
def content(wheel: Path) -> dict[str, bytes]:
    """The course's files in the wheel; not the metadata that the packager adds."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        return {name: archive.read(name) for name in names}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    return folder


def _required(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_string(archive.read(name).decode())
    return {
        canonicalize_name(Requirement(line).name) for line in metadata.get_all("Requires-Dist", [])
    }


def _imported(content: dict[str, bytes]) -> set[str]:
    """The distributions that the wheel's modules import, wherever in the file they do."""
    distributions = packages_distributions()
    found = set()
    for name, raw in content.items():
        if name.endswith(".py"):
            for node in ast.walk(ast.parse(raw)):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found.add(node.module.split(".")[0])
    return {
        canonicalize_name(distributions[module][0])
        for module in found - sys.stdlib_module_names - {"labkit", "autograder", "course_config"}
    }


def _hidden_lines() -> set[str]:
    lines = {
        line.strip()
        for path in (ROOT / "source").rglob("*.ipynb")
        for cell in notebook.read(path)
        for line in cell.hidden_tests.splitlines()
    }
    return {
        line
        for line in lines
        if len(line) >= LINE_CHARACTERS and not line.startswith(("import ", "from "))
    }


def _leaks(content: dict[str, bytes], secrets: set[str]) -> Iterator[tuple[str, str]]:
    for name, raw in content.items():
        for secret in secrets:
            if secret.encode() in raw:
                yield name, secret


def test_the_wheel_is_the_same_bytes_whenever_and_by_whomever_it_is_built(
    wheel: Path, tmp_path: Path
) -> None:
    assert _build(tmp_path, 0o077).read_bytes() == wheel.read_bytes()


def test_it_holds_every_file_that_a_student_needs(content: dict[str, bytes]) -> None:
    command = ["git", "ls-files", "-z", "--", *PARTS]
    listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    tracked = {name for name in listed.stdout.split("\0") if (ROOT / name).is_file()}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    left_out = set(settings["tool"]["student-wheel"]["files"])
    assert left_out < tracked, "pyproject.toml leaves out a file that does not exist"
    assert tracked - left_out - content.keys() == set()


def test_it_holds_nothing_but_files_of_labkit_autograder_and_course_config(
    content: dict[str, bytes],
) -> None:
    assert {name.split("/")[0] for name in content} == PARTS
    changed = {name for name, raw in content.items() if (ROOT / name).read_bytes() != raw}
    assert changed == {"course_config.py"}


def test_of_the_course_s_numbers_it_holds_all_but_where_they_come_from(
    content: dict[str, bytes],
) -> None:
    handed_out: dict[str, Any] = {}
    exec(content["course_config.py"], handed_out)
    pairs = list(zip(handed_out["LABS"], course_config.LABS, strict=True))
    assert pairs
    for student, staff in pairs:
        for ours, theirs in zip(staff.thresholds, student.thresholds, strict=True):
            assert ours.basis.encode() not in content["course_config.py"]
            assert replace(ours, basis=theirs.basis) == theirs
        assert replace(student, thresholds=staff.thresholds) == staff


def test_it_holds_code_records_cards_and_weights_alone(content: dict[str, bytes]) -> None:
    """So no notebook, no archive, no table, no pickle: none of the forms that data comes in."""
    assert {Path(name).suffix for name in content} <= KINDS


def test_what_it_holds_as_tensors_are_weights_of_a_described_model(
    content: dict[str, bytes],
) -> None:
    tensors = {name: raw for name, raw in content.items() if name.endswith(".safetensors")}
    assert tensors
    for name, raw in tensors.items():
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        header.pop("__metadata__", None)
        images = [key for key, tensor in header.items() if tensor["dtype"] == "U8"]
        assert images == [], f"{name} holds bytes as a data set's pixels would be"
        assert len(raw) < 10_000_000, name
        assert f"{name.removesuffix('.safetensors')}.json" in content


def test_its_json_describes_models_and_tokenizers_alone(content: dict[str, bytes]) -> None:
    documents = {name: json.loads(raw) for name, raw in content.items() if name.endswith(".json")}
    assert documents
    for name, document in documents.items():
        baseline = {"spec", "record"} <= document.keys() and len(content[name]) < 10_000
        assert baseline or "model" in document, f"{name} is no baseline's record and no tokenizer"


def test_no_line_of_a_hidden_test_is_in_it(content: dict[str, bytes]) -> None:
    secrets = _hidden_lines()
    assert secrets, "the sources have hidden tests, so there are lines to look for"
    assert list(_leaks(content, secrets)) == []


def test_a_hidden_line_would_be_found(content: dict[str, bytes]) -> None:
    secrets = _hidden_lines()
    told = next(iter(secrets))
    poisoned = content | {"labkit/help.py": f"def check():\n    {told}\n".encode()}
    assert ("labkit/help.py", told) in set(_leaks(poisoned, secrets))


def test_it_requires_what_its_modules_import_and_nothing_else(
    wheel: Path, content: dict[str, bytes]
) -> None:
    required, imported = _required(wheel), _imported(content)
    assert imported - required == set()
    assert required - imported - NEEDED_UNIMPORTED.keys() == set()


STUDENT = """
import importlib, json, pkgutil, sys
import course_config, labkit, autograder
from labkit import baselines
model = baselines.load("resnet_cifar10")
missing = {}
for package in (labkit, autograder):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            missing[module.name] = str(error)
ours = ("labkit", "autograder", "course_config")
outside = sorted(
    name for name, module in sys.modules.items() if name.split(".")[0] in ours
    and not module.__file__.startswith(sys.argv[1])
)
try:
    import reference
except ModuleNotFoundError as error:
    reference = error.name
print(json.dumps({
    "parameters": sum(p.numel() for p in model.parameters()),
    "labs": [lab.number for lab in course_config.LABS],
    "missing": missing,
    "outside": outside,
    "reference": str(reference),
}))
"""


def test_a_student_imports_all_of_it_and_reference_not_at_all(
    installed: Path, tmp_path: Path
) -> None:
    """Without `site`, whose .pth files would lead an editable install back to this repository."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PYTHONPATH": os.pathsep.join([str(installed), str(SITE_PACKAGES)]),
    }
    command = [sys.executable, "-S", "-c", STUDENT, str(installed)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["parameters"] == 696_618  # the README's figure
    assert found["labs"]
    assert found["missing"] == {}
    assert found["outside"] == []
    assert found["reference"] == "reference"


def test_nobodys_extension_is_in_it() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from student_wheel import for_students
    finally:
        sys.path.pop(0)
    named = 'EXTENSIONS: tuple[Extension, ...] = (Extension("ada", "3.1", "2027", "ill"),)'
    config = (ROOT / "course_config.py").read_text(encoding="utf-8")
    (line,) = [line for line in config.splitlines() if line.startswith("EXTENSIONS")]
    found = for_students(config.replace(line, named))
    assert "ada" not in found.partition("EXTENSIONS:")[2]
    assert "EXTENSIONS: tuple[Extension, ...] = ()" in found
