"""A trained model as a folder that other people can use: weights, record, model card, and optionally ONNX."""
