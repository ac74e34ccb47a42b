"""The instructor's solution, unchanged.

Source: control
Expected: all points, no finding.
"""

SILENT = True
