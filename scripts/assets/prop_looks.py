"""Materials that several of our own props share."""

from __future__ import annotations

from usd_asset import Look

STEEL = Look(name="steel", color_rgb=(0.55, 0.55, 0.56), roughness=0.3, metallic=1.0)
BLACK = Look(name="black", color_rgb=(0.02, 0.02, 0.022), roughness=0.4)
WALNUT = Look(name="walnut", texture="walnut.jpg", roughness=0.4)
OAK = Look(name="oak", texture="oak.jpg", roughness=0.45)
WHITE = Look(name="white", color_rgb=(0.70, 0.69, 0.66), roughness=0.45)
GLASS = Look(name="glass", color_rgb=(0.55, 0.62, 0.60), roughness=0.02, opacity=0.08)
"""Thin clear glass: what is not reflected passes straight on, as if it were a film."""
PAPER = Look(name="paper", color_rgb=(0.75, 0.71, 0.62), roughness=0.9)

COVERS = (
    (0.32, 0.03, 0.03),
    (0.03, 0.07, 0.20),
    (0.05, 0.14, 0.08),
    (0.42, 0.28, 0.06),
    (0.10, 0.09, 0.10),
    (0.40, 0.36, 0.30),
)


def cover(index: int) -> Look:
    """One of the bindings."""
    return Look(name=f"cover_{index}", color_rgb=COVERS[index], roughness=0.5)
