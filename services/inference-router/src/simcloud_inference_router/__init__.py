"""The inference-router: gRPC in front of SageMaker endpoints and model containers."""
