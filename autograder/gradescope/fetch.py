"""`python -m autograder.gradescope.fetch LAB`: all that grading needs, while there is a network."""

import sys

from autograder import examples, supplies
from autograder.cli.app import find_lab
from labkit import baselines

if __name__ == "__main__":
    lab = find_lab(sys.argv[1])
    supplies.fetch(lab)
    if lab.artefact is not None:
        examples.load(lab.artefact)
        baselines.load(lab.artefact.baseline)
