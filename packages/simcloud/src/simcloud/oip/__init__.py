"""The Open Inference Protocol over gRPC, from a private descriptor pool."""
