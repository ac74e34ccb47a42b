"""What the exporters do to ONNX graphs besides quantizing them."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


def weights(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the exporter's notes on where each node and edge comes from."""
    model.graph.ClearField("value_info")
    for part in (model, model.graph, *model.graph.node, *model.graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def tied(model: onnx.ModelProto) -> onnx.ModelProto:
    """An output layer that is the transposed embedding reads it, and is not stored again.

    The exporter folds the transposition away, which makes a copy; ONNX Runtime does the same when
    it loads the file, so this costs no time.
    """
    known = weights(model)
    tables = [n.input[0] for n in model.graph.node if n.op_type == "Gather" and n.input[0] in known]
    for node in list(model.graph.node):
        if node.op_type != "MatMul" or node.input[1] not in known:
            continue
        for table in tables:
            if _is_transposed(known[node.input[1]], known[table]):
                copy = node.input[1]
                model.graph.initializer.remove(known.pop(copy))
                turn = onnx.helper.make_node("Transpose", [table], [copy], f"{copy}_tied")
                model.graph.node.insert(0, turn)
                break
    return model


def untied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every transposed weight as a weight of its own, which a quantizer can find."""
    known = weights(model)
    for node in [n for n in model.graph.node if n.op_type == "Transpose" and n.input[0] in known]:
        values = numpy_helper.to_array(known[node.input[0]])
        order = next((a.ints for a in node.attribute if a.name == "perm"), None)
        model.graph.initializer.append(
            numpy_helper.from_array(np.ascontiguousarray(values.transpose(order)), node.output[0])
        )
        model.graph.node.remove(node)
    return model


def array(tensor: onnx.TensorProto) -> NDArray[np.float32]:
    return numpy_helper.to_array(tensor)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what exporters say about absent torchvision and the like to themselves."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _is_transposed(candidate: onnx.TensorProto, table: onnx.TensorProto) -> bool:
    if len(table.dims) != 2 or list(candidate.dims) != list(table.dims)[::-1]:
        return False
    return np.array_equal(array(candidate), array(table).T)
