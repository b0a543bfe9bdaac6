"""The generator service: renders labelled frames from one OpenUSD scene and one spec."""

__version__ = "0.1.0"
