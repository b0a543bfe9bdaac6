"""Colours of light."""

from __future__ import annotations

from simcloud.spec.parameters import Vector3


def black_body_rgb(temperature_k: float) -> Vector3:
    """Linear sRGB of a black body, luminance 1.

    Chromaticity by the cubic approximation of the Planckian locus of Kim et al. (US patent
    7024034, 1667 to 25000 K); xyY to linear sRGB by IEC 61966-2-1. 6500 K is scaled to white.
    """
    red, green, blue = _planck_rgb(temperature_k)
    white = _planck_rgb(6500.0)
    scaled = (red / white[0], green / white[1], blue / white[2])
    luminance = 0.2126 * scaled[0] + 0.7152 * scaled[1] + 0.0722 * scaled[2]
    return scaled[0] / luminance, scaled[1] / luminance, scaled[2] / luminance


def _planck_rgb(temperature_k: float) -> Vector3:
    t = 1e3 / temperature_k
    if temperature_k <= 4000:
        x = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
        if temperature_k <= 2222:
            y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
        else:
            y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    big_x, big_z = x / y, (1 - x - y) / y
    return (
        max(3.2406 * big_x - 1.5372 - 0.4986 * big_z, 1e-4),
        max(-0.9689 * big_x + 1.8758 + 0.0415 * big_z, 1e-4),
        max(0.0557 * big_x - 0.2040 + 1.0570 * big_z, 1e-4),
    )
