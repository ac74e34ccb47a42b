"""Environments of peers whose pins are not ours, each made on demand under .peers/."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
ENVIRONMENTS = Path(".peers")


REQUIREMENTS = {
    "requirements.txt": [],
    "requirements-no-deps.txt": ["--no-deps"],  # what would pull CUDA or forbid the pins
    "requirements-no-build-isolation.txt": ["--no-build-isolation"],  # what builds against torch
}


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, which is made if its pins have changed."""
    given = [(FOLDER / peer / name, flags) for name, flags in REQUIREMENTS.items()]
    given = [(path, flags) for path, flags in given if path.is_file()]
    pins = "".join(path.read_text("utf-8") for path, _ in given)
    home = ENVIRONMENTS / peer
    python, installed = home.absolute() / "bin" / "python", home / "installed"
    if not installed.is_file() or installed.read_text("utf-8") != pins:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        for path, flags in given:
            command = [str(python), "-m", "pip", "install", "-q", *flags, "-r", str(path)]
            subprocess.run(command, check=True)
        installed.write_text(pins, encoding="utf-8")
    return python
