"""`course new-lab`: everything that a lab consists of, to be filled in.

What it writes is whole: it validates, releases and can be graded. What an author has to write is
marked `WRITE:`; the exercise is an example of the lab's family, to be replaced.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from autograder import notebook
from autograder.lab import Artefact, Lab

CONFIG = "course_config.py"
LABS = re.compile(r"^LABS = \((?P<labs>[^)]*)\)$", re.MULTILINE)
LINE_CHARACTERS = 100
NUMBER, NAME = re.compile(r"\d+\.\d+"), re.compile(r"\w+")
BASELINE, DATASET = "resnet_small_cifar10", "cifar10"
_TEXTS = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "skeleton"),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


class Family(StrEnum):
    """What a lab is about: its example of an exercise, and the theory document that it rests on."""

    QUANTIZATION = "quantization"
    PRUNING = "pruning"
    DISTILLATION = "distillation"

    @property
    def theory(self) -> str:
        return {
            Family.QUANTIZATION: "3.1-Quantization_Fundamentals.md",
            Family.PRUNING: "3.2-Pruning_and_Sparsity.md",
            Family.DISTILLATION: "3.3-Knowledge_Distillation_and_Architecture_Optimization.md",
        }[self]


class CannotMakeLab(Exception):
    """The lab exists, or cannot be called that. The message says what would be right."""


@dataclass(frozen=True)
class Course:
    """Where the parts of a lab lie."""

    source: Path
    samples: Path
    registries: Path
    config: Path

    def folders(self, lab: Lab) -> tuple[Path, ...]:
        return tuple(place / lab.folder for place in (self.source, self.samples, self.registries))


def named(number: str, title: str, topics: Sequence[str]) -> Lab:
    """The lab that a skeleton is made for.

    Args:
        topics: of its notebooks, in order, such as "Global vs local".

    Raises:
        CannotMakeLab: a name would make no file name, or stands twice.
    """
    if not NUMBER.fullmatch(number):
        raise CannotMakeLab(f"a lab's number is like 3.5, not {number!r}")
    for name in (title, *topics):
        if not NAME.fullmatch(_slug(name)):
            raise CannotMakeLab(f"{name!r} becomes a file name: letters, digits and spaces only")
    if not topics or len(set(topics)) != len(topics):
        raise CannotMakeLab(f"a lab needs notebooks of different names, got {list(topics)}")
    return Lab(
        number=number,
        slug=_slug(title),
        title=title,
        notebooks=tuple(f"{part:02}-{_slug(topic)}" for part, topic in enumerate(topics, start=1)),
        datasets=(DATASET,),
        artefact=Artefact(file="model.onnx", baseline=BASELINE, dataset=DATASET),
    )


def make(lab: Lab, family: Family, course: Course) -> list[Path]:
    """Write every part of a new lab, and return the files.

    Raises:
        CannotMakeLab: a lab of that number has a part already, or course_config.py has no line
            `LABS = (...)` to enter it in.
    """
    for place in (course.source, course.samples, course.registries):
        for found in place.glob(f"Lab-{lab.number}-*"):
            raise CannotMakeLab(f"{found} exists; remove it or choose another number")
    files = {course.config: _entered(lab, course.config)}
    source, samples, registry = course.folders(lab)
    files[source / "README.md"] = _text("README.md", lab=lab, theory=family.theory)
    for part, name in enumerate(lab.notebooks, start=1):
        files[source / f"{name}.ipynb"] = _notebook(part, name, lab, family)
    files |= {samples / name: text for name, text in _samples(lab)}
    files[registry / "README.md"] = _text("registry.md", lab=lab)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(files)


def _notebook(part: int, name: str, lab: Lab, family: Family) -> str:
    text = _text(
        "notebook.py",
        lab=lab,
        part=part,
        topic=name.partition("-")[2].replace("_", " ").lower(),
        theory=family.theory,
        exercise=_text(f"{family}.py"),
        last=part == len(lab.notebooks),
    )
    return notebook.from_text(text, name)


def _samples(lab: Lab) -> Iterator[tuple[str, str]]:
    """What every lab is tried with: all of it, nothing of it, and a model as it was."""
    cell = f"# %% {lab.notebooks[-1]}/build-artefact"
    unmodified = f'{cell}\nexport.to_onnx(baselines.load("{BASELINE}"), "model.onnx")\n'
    yield "instructor.py", '"""The instructor\'s own solution: it earns all points."""\n'
    yield (
        "empty.py",
        '"""The release, handed in untouched: it earns nothing."""\n\n# base: release\n',
    )
    yield (
        "naive.py",
        '"""All exercises solved, and the unmodified model: no artefact check earns."""\n\n'
        + unmodified,
    )
    yield "calibration/unmodified.py", f'"""The FP32 baseline as it is."""\n\n{unmodified}'


def _entered(lab: Lab, config: Path) -> str:
    """course_config.py with the lab as its last."""
    text = config.read_text(encoding="utf-8")
    found = LABS.search(text)
    if found is None:
        raise CannotMakeLab(f"{config} has no `LABS = (LAB_3_1,)` to enter the lab in")
    variable = f"LAB_{lab.number.replace('.', '_')}"
    if re.search(rf"\b{variable}\b", text):
        raise CannotMakeLab(f"{config} has {variable} already; choose another number")
    labs = [name.strip() for name in found["labs"].split(",") if name.strip()]
    entry = _text(CONFIG, lab=lab, variable=variable)
    before, after = text[: found.start()], text[found.end() :]
    return f"{before}{entry}\n{_tuple([*labs, variable])}{after}"


def _tuple(labs: Sequence[str]) -> str:
    """As ruff would write it."""
    line = f"LABS = ({', '.join(labs)}{',' if len(labs) == 1 else ''})"
    if len(line) <= LINE_CHARACTERS:
        return line
    return "\n".join(["LABS = (", *(f"    {name}," for name in labs), ")"])


def _text(name: str, **values: object) -> str:
    return _TEXTS.get_template(f"{name}.j2").render(values)


def _slug(name: str) -> str:
    return name.strip().replace(" ", "_")
