"""ONNX Runtime as the course uses it, and the names of a model's inputs and outputs.

It stands outside labkit.export, which imports torch: the grader starts a fresh process for every
block that it times, and that process needs numbers alone.
"""

from pathlib import Path

import onnxruntime as ort

INPUT = "images"
IDS = "input_ids"
MASK = "attention_mask"
OUTPUT = "logits"


def session(model: Path | str | bytes, threads: int = 1) -> ort.InferenceSession:
    """A model, or the file that holds one, in ONNX Runtime on the CPU, on so many threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    source = model if isinstance(model, bytes) else str(model)
    options.log_severity_level = 4  # its errors are raised, and need not be printed too
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
