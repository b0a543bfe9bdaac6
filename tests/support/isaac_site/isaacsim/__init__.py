"""Stands in for Isaac Sim's package: on the path only where a test put this folder there."""

from support.replicator_fake import SimulationApp

__all__ = ["SimulationApp"]
