"""Programs as graphs: ONNX files and what `torch.export` traced."""
