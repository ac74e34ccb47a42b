"""INT8 with ranges from a placeholder batch, here of mean colour: a plausible mistake."""

# %% 04-Advanced_PTQ_Techniques/build-artefact
import torch

fp32 = export.to_onnx(baselines.load("resnet_cifar10"), "fp32.onnx")
(edges,) = export.activations(fp32, torch.zeros(64, 3, 32, 32), chunk=64)
spans = {n: (min(0.0, v.min().item()), max(0.0, v.max().item())) for n, v in edges.items()}
export.int8_static(fp32, spans, "model.onnx")
