"""SageMaker's container contract over onnxruntime; started by `python -m`."""
