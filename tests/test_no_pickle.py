"""No file runs code by being read: nothing is unpickled, and no text is executed.

A pickle is a program (docs.python.org, pickle, warning at the top), and so is everything that is
built on it: torch.save, joblib, shelve, an object array of numpy, what multiprocessing sends. The
tests may make pickles, to attack with.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = ("labkit", "reference", "autograder", "bench", "scripts", "source", "release")
PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal",
           "jsonpickle", "hickle", "klepto"}  # fmt: skip
SENDS_PICKLES = {
    "multiprocessing", "multiprocess", "torch.multiprocessing", "Pyro5",
    "concurrent.futures.ProcessPoolExecutor", "concurrent.futures.process",
}  # fmt: skip
FORBIDDEN = {
    "torch.load", "torch.save", "torch.jit.load", "torch.package.PackageImporter", "torch.hub.load",
    "torch.hub.load_state_dict_from_url", "torch.export.load", "torch.serialization.load",
    "numpy.lib.format.read_array", "pandas.read_pickle", "pandas.to_pickle", "yaml.load",
    "yaml.unsafe_load", "yaml.full_load", "yaml.load_all",
}  # fmt: skip
METHODS = {"read_pickle", "to_pickle", "find_class", "__reduce__", "__reduce_ex__", "__setstate__"}
EXECUTES = {"eval", "exec", "__import__"}
MAY_EXECUTE = {
    "autograder/examine.py",  # instructors' hidden tests, which are code by design
    "autograder/adversaries.py",  # the attacks of this repository
}
FILES = re.compile(r"\.(pkl|pickle|pt|pth|ckpt|joblib|dill|npy|bin|h5|shelve|marshal)$")


def _code() -> Iterator[tuple[str, ast.Module]]:
    """Every module and every notebook's code cell, by its path in the repository."""
    yield "course_config.py", ast.parse((ROOT / "course_config.py").read_text())
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix == ".py":
                yield name, ast.parse(path.read_text())
            elif path.suffix == ".ipynb" and ".ipynb_checkpoints" not in path.parts:
                for cell in json.loads(path.read_text())["cells"]:
                    if cell["cell_type"] == "code":
                        yield f"{name} {cell['id']}", ast.parse(_without_magics(cell["source"]))


def _without_magics(source: str | list[str]) -> str:
    lines = "".join(source).splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def _faults(tree: ast.Module, place: str = "") -> list[str]:
    known = _names(tree)
    found = []
    for node in ast.walk(tree):
        for imported in _imported(node):
            if _below(imported, PICKLES | SENDS_PICKLES) or imported in FORBIDDEN:
                found.append(f"imports {imported}")
        if isinstance(node, ast.FunctionDef) and node.name in METHODS:
            found.append(f"defines {node.name}")
        if isinstance(node, ast.Attribute | ast.Name):
            name = _dotted(node, known)
            if name in FORBIDDEN or _below(name, SENDS_PICKLES) or _last(node) in METHODS:
                found.append(f"uses {name}")
        if isinstance(node, ast.Call):
            found += _faults_of_call(node, known, place)
    return found


def _faults_of_call(node: ast.Call, known: dict[str, str], place: str) -> Iterator[str]:
    name = _dotted(node.func, known)
    said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if name in EXECUTES and place.split(" ")[0] not in MAY_EXECUTE:
        yield f"calls {name}"
    if name == "numpy.load" and said.get("allow_pickle") != "False":
        yield "calls numpy.load without allow_pickle=False"
    if (
        said.get("allow_pickle", "False") != "False"
        or said.get("trust_remote_code", "False") != "False"
    ):
        yield f"calls {name} with {said}"
    if said.get("weights_only", "True") != "True":
        yield f"calls {name} with weights_only={said['weights_only']}"
    if name.endswith("import_module") and any(_below(text, PICKLES) for text in texts):
        yield f"imports {texts} by its name"
    if name == "getattr" and {"load", "save"} & set(texts):
        yield f"calls {ast.unparse(node)}"
    reads_weights = name.endswith(".from_pretrained") and "Tokenizer" not in name
    if reads_weights and said.get("use_safetensors") != "True" and "gguf_file" not in said:
        yield f"calls {name} without use_safetensors=True"


def _names(tree: ast.Module) -> dict[str, str]:
    """What names that are imported stand for."""
    known = {"np": "numpy", "pd": "pandas"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom):
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return known


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _dotted(node: ast.expr, known: dict[str, str]) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    first = known.get(node.id, node.id) if isinstance(node, ast.Name) else ast.unparse(node)
    return ".".join([first, *reversed(parts)])


def _last(node: ast.Attribute | ast.Name) -> str:
    return node.attr if isinstance(node, ast.Attribute) else ""


def _below(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def test_nothing_is_unpickled_and_no_text_executed() -> None:
    found = {place: faults for place, tree in _code() if (faults := _faults(tree, place))}
    assert found == {}


def test_every_place_that_holds_code_is_looked_at() -> None:
    tops = {place.split("/")[0] for place, _ in _code()}
    assert tops >= {"labkit", "reference", "autograder", "bench", "source", "course_config.py"}


@pytest.mark.parametrize("line", [
    "import pickle", "import pickle as p", "from pickle import loads", "import dill.source",
    "from joblib import load", "import shelve", "import marshal", "from torch import load",
    "import torch as t; t.load(f)", "import torch; torch.save(x, f)", "torch.jit.load(f)",
    "from torch.serialization import load", "f = torch.load", "getattr(torch, 'load')(f)",
    "np.load(f)", "np.load(f, allow_pickle=True)", "import numpy; numpy.load(f)",
    "np.save(f, x, allow_pickle=True)", "np.load(f, allow_pickle=flag)",
    "pd.read_pickle(f)", "frame.to_pickle(f)", "import yaml; yaml.load(f)",
    "import yaml as y; y.unsafe_load(f)", "eval(text)", "exec(text)", "__import__('os')",
    "import importlib; importlib.import_module('pickle')", "import multiprocessing",
    "from multiprocessing import Queue", "import torch; torch.multiprocessing.spawn(f)",
    "from concurrent.futures import ProcessPoolExecutor", "Model.from_pretrained(folder)",
    "Model.from_pretrained(folder, use_safetensors=True, trust_remote_code=True)",
    "class A:\n    def __reduce__(self): ...",
])  # fmt: skip
def test_each_way_would_be_found(line: str) -> None:
    assert _faults(ast.parse(line))


@pytest.mark.parametrize("line", [
    "import pickletools", "model.eval()", "re.compile('a')", "json.load(f)", "data.load(name)",
    "from safetensors.torch import load, save\nload(raw)", "np.load(f, allow_pickle=False)",
    "from concurrent.futures import ThreadPoolExecutor", "AutoTokenizer.from_pretrained(folder)",
    "yaml.safe_load(f)", "session.load()", "Model.from_pretrained(f, use_safetensors=True)",
])  # fmt: skip
def test_what_is_harmless_is_let_through(line: str) -> None:
    assert _faults(ast.parse(line)) == []


def test_no_file_of_such_a_kind_lies_in_the_repository() -> None:
    places = (*PLACES, "theory", "docs", "samples")
    files = [path for place in places for path in (ROOT / place).rglob("*") if path.is_file()]
    assert [path for path in files if FILES.search(path.name)] == []
    assert [path for path in files if path.read_bytes()[:2] in (b"\x80\x02", b"\x80\x04")] == []
