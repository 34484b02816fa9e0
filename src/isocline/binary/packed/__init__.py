"""Deployment in bits: `pack` a trained model, run it, save it, load it without training code, export it to ONNX."""
