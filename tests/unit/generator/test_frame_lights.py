"""A frame's lights as triangles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pxr import Usd

from simcloud.scene.translate.normals import face_normals
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.parameters import DiskLight, DistantLight, FrameParameters, SphereLight
from simcloud_generator.backends.frame_lights import frame_distant_lights, frame_mesh_lights
from simcloud_generator.backends.frame_scene import FrameResolver
from simcloud_generator.backends.isaac.frame_layer import FrameLayer
from support.scenes import sphere_stage

WHITE = (1.0, 1.0, 1.0)
TURNED = (0.7071067811865476, 0.7071067811865476, 0.0, 0.0)
"""By 90 degrees about X: -Z becomes +Y."""


def test_a_sphere_shines_outward_from_its_centre() -> None:
    lamp = SphereLight("bulb", (1.0, 2.0, 3.0), 0.5, WHITE)
    [light] = frame_mesh_lights(FrameParameters(frame=0, render_seed=1, lights=(lamp,)))
    outward = light.vertices - np.array(lamp.position_m)
    np.testing.assert_allclose(np.sqrt((outward**2).sum(axis=1)), 0.5, rtol=1e-5)
    corners = light.vertices[light.faces].mean(axis=1) - np.array(lamp.position_m)
    normals = face_normals(light.vertices, light.faces)
    solid = (normals**2).sum(axis=1) > 1e-12
    assert ((normals * corners).sum(axis=1)[solid] > 0).all()


def test_a_disk_shines_along_its_own_minus_z() -> None:
    lamp = DiskLight("spot", (0.0, 0.0, 2.0), TURNED, 0.5, WHITE)
    [light] = frame_mesh_lights(FrameParameters(frame=0, render_seed=1, lights=(lamp,)))
    normals = face_normals(light.vertices, light.faces)
    area = np.sqrt((normals**2).sum(axis=1)).sum() / 2
    assert area == pytest.approx(np.pi / 4, rel=0.03)
    total = normals.sum(axis=0) / np.sqrt((normals.sum(axis=0) ** 2).sum())
    np.testing.assert_allclose(total, (0.0, 1.0, 0.0), atol=1e-6)


def test_parallel_light_keeps_its_direction() -> None:
    sun = DistantLight("sun", (0.0, 0.6, -0.8), (3.0, 2.0, 1.0))
    parameters = FrameParameters(frame=0, render_seed=1, lights=(sun,))
    assert frame_mesh_lights(parameters) == ()
    [light] = frame_distant_lights(parameters)
    assert (light.direction, light.irradiance) == (sun.direction, sun.irradiance_rgb)


def test_isaacs_prims_are_the_same_lights(tmp_path: Path) -> None:
    lights = (
        SphereLight("bulb", (1.0, 2.0, 3.0), 0.5, (4.0, 2.0, 1.0)),
        DiskLight("spot", (0.0, 0.0, 2.0), TURNED, 0.5, WHITE),
        DistantLight("sun", (0.0, 0.6, -0.8), (3.0, 2.0, 1.0)),
    )
    parameters = FrameParameters(frame=0, render_seed=1, lights=lights)
    path = sphere_stage(tmp_path, 0.2)
    scene = read_scene(path)
    stage = Usd.Stage.Open(str(path))
    layer = FrameLayer(stage, scene)
    layer.apply(parameters, FrameResolver(scene).resolve(parameters), 0)
    authored = tmp_path / "authored.usda"
    stage.Flatten().Export(str(authored))
    layer.close()
    read = read_scene(authored)
    by_name = {light.path.rpartition("/")[2]: light for light in read.mesh_lights}
    for light in frame_mesh_lights(parameters):
        found = by_name[light.path]
        np.testing.assert_allclose(found.vertices, light.vertices, atol=1e-5)
        assert found.radiance == pytest.approx(light.radiance, rel=1e-5)
    [sun] = read.distant_lights
    assert sun.direction == pytest.approx(lights[2].direction, abs=1e-6)
    assert sun.irradiance == pytest.approx(lights[2].irradiance_rgb, rel=1e-5)
