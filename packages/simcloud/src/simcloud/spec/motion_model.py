"""Motion of a spec: what `motion_vectors` see. A frame itself stands still and is never blurred."""

from __future__ import annotations

from typing import Annotated

from simcloud.spec.base import SpecModel
from simcloud.spec.distributions import Constant, Real, between

_Speed = Annotated[Real, between(-1e4, 1e4)]
_Rest = Constant(value=0.0)


class Motion(SpecModel):
    """A steady motion that leads to the frame's state, from one step (``1 / fps``) before it.

    Axes are those of the camera (right, up, back) or of the asset (its front is -Y), as they stand
    in the frame.
    """

    velocity_m_s: tuple[_Speed, _Speed, _Speed] = (_Rest, _Rest, _Rest)
    """Of the origin, metres per second."""
    angular_deg_s: tuple[_Speed, _Speed, _Speed] = (_Rest, _Rest, _Rest)
    """Rotation vector about the origin, degrees per second, counter-clockwise about its axis."""
