"""Requests to a model that takes batches, sent as one."""
