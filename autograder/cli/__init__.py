"""The command `course`: what instructors and authors type. The only part of the grader that prints.

Each module hangs its commands on the app, in the order in which `course --help` shows them.
"""

from autograder.cli import making  # isort: skip
from autograder.cli import collecting  # isort: skip
from autograder.cli import grading  # isort: skip
from autograder.cli import deciding  # isort: skip
from autograder.cli import exporting  # isort: skip
from autograder.cli import trying  # isort: skip
from autograder.cli.app import app as _app
from autograder.cli.app import main
from autograder.student import cli as _student

_student.add_to(_app)

__all__ = ["collecting", "deciding", "exporting", "grading", "main", "making", "trying"]
