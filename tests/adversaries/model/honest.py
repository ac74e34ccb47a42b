"""The instructor's INT8 network.

Source: control
Expected: all points, no finding.
"""

SILENT = True
