"""Composite pictures: objects shaded by direct light on background pictures, labels by Embree."""
