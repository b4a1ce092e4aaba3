"""ONNX operators and model files, run by ONNX Runtime or the reference evaluator."""
