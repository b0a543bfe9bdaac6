"""Runs as Indexed Jobs of a cluster: rendered from an overlay, submitted, followed, accounted."""
