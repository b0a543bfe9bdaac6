"""Renderers behind one interface."""
