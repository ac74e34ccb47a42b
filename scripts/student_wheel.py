"""The student's wheel: labkit, course_config, and of autograder what a student can use.

`python scripts/student_wheel.py [FOLDER]` writes it to FOLDER, else to dist/. It is built from a
copy of what git holds or would take in, with one time and one mode for all files, so that the same
tree makes the same bytes. What stays out, and why: pyproject.toml, [tool.student-wheel]. The basis
of a threshold, which is for staff, is blanked.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("labkit", "autograder", "course_config.py")
NAME = "compression-course-student"
WITHHELD = "known to those who teach"
EPOCH = 315_532_800  # 1980-01-01, the earliest time that a zip can hold
PYPROJECT = """\
[build-system]
requires = {build_requires}
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "{version}"
description = "What a student of the compression course imports"
requires-python = "{python}"
dependencies = {dependencies}

[project.scripts]
course = "autograder.student.cli:main"

[tool.setuptools]
py-modules = ["course_config"]

[tool.setuptools.packages.find]
include = ["labkit*", "autograder*"]

[tool.setuptools.package-data]
{package_data}
"""


def main() -> None:
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist")))


def build(out: Path) -> Path:
    """The wheel, written into the folder `out`.

    Raises:
        subprocess.CalledProcessError: git or pip failed; what it said is on stderr.
    """
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        staging = Path(scratch)
        for name in contents(settings):
            target = staging / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
            target.chmod(0o644)
        config = staging / "course_config.py"
        config.write_text(for_students(config.read_text(encoding="utf-8")), encoding="utf-8")
        (staging / "pyproject.toml").write_text(_pyproject(settings))
        _pip_wheel(staging, out)
    return out / f"{NAME.replace('-', '_')}-{settings['project']['version']}-py3-none-any.whl"


def contents(settings: dict[str, Any]) -> list[str]:
    """The files of the wheel, as paths in the repository."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS]
    found = subprocess.run(listing, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    present = {name for name in found.stdout.split("\0") if name and (ROOT / name).is_file()}
    return sorted(present - set(settings["tool"]["student-wheel"]["files"]))


def for_students(config: str) -> str:
    """The text of course_config.py, each `basis` blanked and nobody's extension in it."""
    nodes = list(ast.walk(ast.parse(config)))
    keywords = [node for node in nodes if isinstance(node, ast.keyword) and node.arg == "basis"]
    blanked = [(keyword.value, json.dumps(WITHHELD)) for keyword in keywords]
    blanked += [
        (node.value, "()")
        for node in nodes
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == "EXTENSIONS"
        and node.value is not None
    ]
    spelled = [(ast.get_source_segment(config, value), instead) for value, instead in blanked]
    for found, instead in spelled:
        if found is not None:
            config = config.replace(found, instead)
    return config


def _pyproject(settings: dict[str, Any]) -> str:
    project, tool = settings["project"], settings["tool"]
    left_out = tool["student-wheel"]["dependencies"]
    wanted = [d for d in project["dependencies"] if re.split(r"[\s=<>!~;\[]", d)[0] not in left_out]
    data = tool["setuptools"]["package-data"].items()
    return PYPROJECT.format(
        build_requires=json.dumps(settings["build-system"]["requires"]),  # JSON's lists are TOML's
        name=NAME,
        version=project["version"],
        python=project["requires-python"],
        dependencies=json.dumps(wanted, indent=2),
        package_data="\n".join(f"{json.dumps(k)} = {json.dumps(patterns)}" for k, patterns in data),
    )


def _pip_wheel(staging: Path, out: Path) -> None:
    # Without isolation setuptools is the pinned one of this environment, and no network is needed.
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        *options,
        "--wheel-dir",
        str(out),
        str(staging),
    ]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}
    subprocess.run(command, check=True, env=environment, umask=0o022)


if __name__ == "__main__":
    main()
