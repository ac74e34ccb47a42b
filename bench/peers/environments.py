"""Environments of peers whose pins are not ours, each made on demand under .peers/."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
ENVIRONMENTS = Path(".peers")


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, which is made if its pins have changed."""
    pins = (FOLDER / peer / "requirements.txt").read_text("utf-8")
    home = ENVIRONMENTS / peer
    python, installed = home.absolute() / "bin" / "python", home / "installed"
    if not installed.is_file() or installed.read_text("utf-8") != pins:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        requirements = str(FOLDER / peer / "requirements.txt")
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", requirements], check=True)
        installed.write_text(pins, encoding="utf-8")
    return python
