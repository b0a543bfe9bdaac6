"""Rays through pixels with Embree: what is hit first, and what each object would show alone.

Every group of geometry has its own acceleration structure, in its own frame, kept between frames;
rays are brought into that frame. So nothing is rebuilt when objects move, an object's unoccluded
pixels come from the same rays as the visible ones, and the visible ones are a subset by
construction.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from simcloud.geometry import (
    Float64,
    affine_inverse,
    matrix4,
    pixel_rays,
    projected_extent,
    rays_through,
    transform_planes,
    transform_points,
)
from simcloud.labels.boxes import Extent
from simcloud.labels.masks import mask_box
from simcloud.labels.objects import Box2D
from simcloud.spec.parameters import CameraView
from simcloud_generator.backends.frame_materials import Part
from simcloud_generator.backends.frame_scene import FrameScene, Group
from simcloud_generator.backends.hits import (
    NO_HIT_DISTANCE,
    Float32Array,
    Hits,
    copy_hits,
    merge_window,
    no_hits,
    write_closer,
)
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.shading import is_cut_out, solid_at

MAX_HOLES = 16
"""Holes that a ray passes within one group before it counts as stopped."""

STEP = 1e-5
"""How far beyond a hole the ray goes on, relative to the distance and at least in metres."""

RAYS_AT_ONCE = 1 << 14
"""What fits into the caches with all that is computed for it: a fifth less time than a picture at
once, whose arrays are new pages each time."""


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A group's acceleration structure with what is needed to bound its projection."""

    scene: EmbreeScene
    vertices: Float32Array
    """(V, 3) of all its meshes."""
    edges: npt.NDArray[np.int64]
    """(E, 2) into ``vertices``."""
    face_count: int


@dataclass(frozen=True, slots=True)
class Silhouette:
    """What a group would show if nothing stood before it."""

    extent: Extent | None
    """Bounds on the unbounded image plane."""
    amodal_px: int
    box: Box2D | None
    """Of the pixels within the image."""


@dataclass(slots=True, eq=False)
class ViewTrace:
    """All rays of one view and what they hit."""

    directions: Float64
    """(H, W, 3) unit, world."""
    cosines: Float64
    """(H, W) to the viewing axis."""
    hits: Hits
    silhouettes: list[Silhouette] = field(default_factory=list)
    """One for each group of the frame."""


class Tracer:
    """Traces frames of one scene.

    Args:
        images: for opacity textures.
        limit_faces: triangles kept in acceleration structures; the least recently used groups are
            dropped beyond it, one is always kept.
    """

    def __init__(self, images: ImageStore, *, limit_faces: int) -> None:
        self._images = images
        self._limit = limit_faces
        self._geometry: OrderedDict[str, Geometry] = OrderedDict()
        self._faces = 0

    def trace(
        self,
        frame: FrameScene,
        camera: CameraView,
        offset: tuple[float, float] = (0.5, 0.5),
        *,
        surfaces: bool = True,
    ) -> ViewTrace:
        """Traces one ray through each pixel.

        Args:
            frame: what stands where.
            camera: where from.
            offset: place within each pixel; labels use its centre.
            surfaces: whether the place on its surface is wanted for each hit, too.
        """
        directions, cosines = pixel_rays(camera, offset)
        hits = no_hits(camera.width * camera.height, surfaces=surfaces)
        trace = ViewTrace(directions=directions, cosines=cosines, hits=hits)
        for index, group in enumerate(frame.groups):
            trace.silhouettes.append(self._trace_group(trace, camera, index, group))
        return trace

    def trace_rays(
        self,
        frame: FrameScene,
        camera: CameraView,
        silhouettes: list[Silhouette],
        pixels: Float64,
    ) -> tuple[Float64, Hits]:
        """Traces rays through some places of a picture that was traced before.

        Args:
            frame: what stands where.
            camera: where from.
            silhouettes: of the frame's groups, as :meth:`trace` found them.
            pixels: places (N, 2) in the image, continuous pixels.

        Returns:
            Unit world directions (N, 3), and what the rays hit first.
        """
        directions, cosines = rays_through(camera, pixels)
        hits = no_hits(len(pixels))
        x, y = np.ascontiguousarray(pixels.T)
        for index, (group, silhouette) in enumerate(zip(frame.groups, silhouettes, strict=True)):
            extent = silhouette.extent
            if extent is None:
                continue
            inside = (x >= extent[0]) & (y >= extent[1]) & (x <= extent[2]) & (y <= extent[3])
            chosen = np.flatnonzero(inside)
            if len(chosen) == 0:
                continue
            geometry = self._get(group)
            found = self._ray_hits(camera, group, geometry, directions[chosen], cosines[chosen])
            closer = found.distance_m < hits.distance_m[chosen]
            write_closer(hits, found, chosen, closer, index)
        return directions, hits

    def _trace_group(
        self, trace: ViewTrace, camera: CameraView, index: int, group: Group
    ) -> Silhouette:
        geometry = self._get(group)
        vertices: npt.NDArray[np.floating] = geometry.vertices
        if group.local2world is not None:
            vertices = transform_points(group.local2world, vertices)
        extent = projected_extent(camera, vertices, geometry.edges)
        rows, columns = _window(extent, camera)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return Silhouette(extent=extent, amodal_px=0, box=None)
        mask = np.empty((rows.stop - rows.start, columns.stop - columns.start), dtype=np.bool_)
        step = max(1, RAYS_AT_ONCE // mask.shape[1])
        for top in range(rows.start, rows.stop, step):
            band = slice(top, min(top + step, rows.stop)), columns
            found = self._ray_hits(
                camera,
                group,
                geometry,
                trace.directions[band].reshape(-1, 3),
                trace.cosines[band].ravel(),
            )
            merge_window(trace.hits, found, trace.cosines.shape, band, index)
            shown = np.isfinite(found.distance_m).reshape(-1, mask.shape[1])
            mask[top - rows.start : top - rows.start + step] = shown
        box = mask_box(mask)
        if box is not None:
            left, top = columns.start, rows.start
            box = (box[0] + left, box[1] + top, box[2] + left, box[3] + top)
        return Silhouette(extent=extent, amodal_px=int(np.count_nonzero(mask)), box=box)

    def _ray_hits(
        self,
        camera: CameraView,
        group: Group,
        geometry: Geometry,
        directions: Float64,
        cosines: Float64,
    ) -> Hits:
        """First hits of rays (N, 3) with one group alone, between near and far."""
        start = camera.near_m / cosines
        eye = matrix4(camera.cam2world)[:3, 3]
        along = tuple(np.ascontiguousarray(directions[:, axis]) for axis in range(3))
        origins = tuple(eye[axis] + along[axis] * start for axis in range(3))
        scale = 1.0
        if group.local2world is not None:
            inverse = affine_inverse(group.local2world)
            scale = 1.0 / float(np.sqrt((inverse[:3, 0] ** 2).sum()))
            origins = transform_planes(inverse, origins, offset=True)
            along = transform_planes(inverse, along, offset=False)
            along = tuple(values * scale for values in along)
        found = self._through_holes(group.parts, geometry.scene, _rows(origins), _rows(along))
        distance = start + found.distance_m.astype(np.float64) * scale
        distance[distance * cosines > camera.far_m] = np.inf
        found.distance_m = distance.astype(np.float32)
        return found

    def _through_holes(
        self,
        parts: tuple[Part, ...],
        scene: EmbreeScene,
        origins: Float32Array,
        directions: Float32Array,
    ) -> Hits:
        """First hits that are not holes in an opacity texture; distances along the rays."""
        hits = _run(scene, origins, directions)
        holed = np.array([is_cut_out(part.material) for part in parts], dtype=np.bool_)
        if not holed.any():
            return hits
        open_rays = np.flatnonzero(np.isfinite(hits.distance_m) & holed[hits.part])
        for _ in range(MAX_HOLES):
            open_rays = open_rays[~self._solid(parts, hits, open_rays)]
            if len(open_rays) == 0:
                break
            passed = hits.distance_m[open_rays].astype(np.float64)
            passed += np.maximum(np.abs(passed), 1.0) * STEP
            ahead = origins[open_rays] + directions[open_rays] * passed[:, None]
            found = _run(scene, ahead.astype(np.float32), directions[open_rays])
            found.distance_m = (found.distance_m.astype(np.float64) + passed).astype(np.float32)
            copy_hits(hits, found, open_rays)
            still = np.isfinite(found.distance_m) & holed[found.part]
            open_rays = open_rays[still]
        return hits

    def _solid(
        self, parts: tuple[Part, ...], hits: Hits, rays: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        result = np.ones(len(rays), dtype=np.bool_)
        for number in np.unique(hits.part[rays]):
            chosen = np.flatnonzero(hits.part[rays] == number)
            at = rays[chosen]
            result[chosen] = solid_at(
                self._images, parts[number], hits.primitive[at], (hits.u[at], hits.v[at])
            )
        return result

    def _get(self, group: Group) -> Geometry:
        found = self._geometry.get(group.key)
        if found is not None:
            self._geometry.move_to_end(group.key)
            return found
        made = _build(group)
        self._geometry[group.key] = made
        self._faces += made.face_count
        while self._faces > self._limit and len(self._geometry) > 1:
            _, dropped = self._geometry.popitem(last=False)
            self._faces -= dropped.face_count
        return made


def _build(group: Group) -> Geometry:
    scene = EmbreeScene(robust=True)  # no ray slips through the seam of two triangles
    vertices, edges, offset, faces = [], [], 0, 0
    for part in group.parts:
        mesh = part.mesh
        TriangleMesh(scene, np.array(mesh.vertices), mesh.faces.astype(np.int32))
        vertices.append(mesh.vertices)
        corners = mesh.faces.astype(np.int64) + offset
        edges += [corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]
        offset += len(mesh.vertices)
        faces += len(mesh.faces)
    return Geometry(
        scene=scene,
        vertices=np.concatenate(vertices),
        edges=np.concatenate(edges),
        face_count=faces,
    )


def _run(scene: EmbreeScene, origins: Float32Array, directions: Float32Array) -> Hits:
    result = scene.run(origins, directions, query="INTERSECT", output=True)
    missed = result["geomID"] < 0
    distance = np.where(missed, NO_HIT_DISTANCE, result["tfar"])
    return Hits(
        distance_m=distance.astype(np.float32, copy=False),
        group=np.zeros(0, dtype=np.int32),
        part=np.where(missed, 0, result["geomID"]).astype(np.int32, copy=False),
        primitive=np.where(missed, 0, result["primID"]).astype(np.int32, copy=False),
        u=result["u"],
        v=result["v"],
        normal=result["Ng"],
    )


def _rows(planes: tuple[Float64, ...]) -> Float32Array:
    """Coordinates in arrays of their own as rows (N, 3)."""
    result = np.empty((len(planes[0]), len(planes)), dtype=np.float32)
    for axis, values in enumerate(planes):
        result[:, axis] = values
    return result


def _window(extent: Extent | None, camera: CameraView) -> tuple[slice, slice]:
    """Rows and columns whose pixel centres can lie in an extent, with a pixel to spare."""
    if extent is None:
        return slice(0, 0), slice(0, 0)
    low = [int(np.floor(np.clip(v, -2, 1e6))) - 1 for v in extent[:2]]
    high = [int(np.ceil(np.clip(v, -2, 1e6))) + 1 for v in extent[2:]]
    return (
        slice(max(low[1], 0), max(min(high[1], camera.height), 0)),
        slice(max(low[0], 0), max(min(high[0], camera.width), 0)),
    )
