"""Room 9: the evidence and its verdict as pages that a person can read, print and keep.

Every page is one file: styles and charts are inside, there is no script, nothing is loaded.
What a student wrote is hostile text here, the student's name included.
"""

from autograder.report.class_page import Graded, write_class_page
from autograder.report.page import write_report

__all__ = ["Graded", "write_class_page", "write_report"]
