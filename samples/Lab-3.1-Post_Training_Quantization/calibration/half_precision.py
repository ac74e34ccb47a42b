"""Half the bytes without any thought: FP16 weights, cast to FP32 when the model is loaded."""

# %% 04-Advanced_PTQ_Techniques/build-artefact
import onnx
from onnx import TensorProto, helper, numpy_helper

stored = onnx.load(str(export.to_onnx(baselines.load("resnet_cifar10"), "fp32.onnx")))
casts = []
for tensor in stored.graph.initializer:
    values = numpy_helper.to_array(tensor)
    if values.dtype == "float32":
        half = f"{tensor.name}_half"
        casts.append(helper.make_node("Cast", [half], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(values.astype("float16"), half))
nodes = [*casts, *stored.graph.node]
stored.graph.ClearField("node")
stored.graph.node.extend(nodes)
onnx.save(stored, "model.onnx")
