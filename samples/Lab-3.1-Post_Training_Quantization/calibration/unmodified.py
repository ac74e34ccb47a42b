"""The FP32 baseline as it is."""

# %% 04-Advanced_PTQ_Techniques/build-artefact
export.to_onnx(baselines.load("resnet_cifar10"), "model.onnx")
