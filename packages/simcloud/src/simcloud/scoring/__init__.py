"""Predictions beside labels: matching, metrics, slices by what made a frame."""
