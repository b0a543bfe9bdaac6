"""Scenes: what is in a stage, where its files are, and its translation to what a renderer takes."""
