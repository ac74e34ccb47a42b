"""All exercises solved, but the unmodified FP32 model is handed in: no artefact check earns."""

# %% 04-Advanced_PTQ_Techniques/build-artefact
export.to_onnx(baselines.load("resnet_cifar10"), "model.onnx")
