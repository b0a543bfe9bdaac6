"""Renders a USD stage with Blender's Cycles; runs in an interpreter that has ``bpy``, not in ours.

``python render.py request.json``: the request names the stage, the camera, the picture's size and
what is wanted. Blender reads the stage by its own importer, so that nothing of our reader has a
part in what comes out. Results are multilayer EXR files and one JSON line on standard output.
"""

# Runs beside Blender alone: no import of ours, no types of bpy.
# ruff: noqa: T201
# mypy: ignore-errors

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import bpy


def main(request: dict) -> dict:
    """Does what the request says; returns what it cost."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.usd_import(filepath=request["stage"], import_guide=True, import_proxy=False)
    scene = bpy.context.scene
    scene.camera = bpy.data.objects[request["camera"]]
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.render.threads_mode = "FIXED"
    scene.render.threads = request.get("threads", 1)
    scene.render.resolution_x, scene.render.resolution_y = request["size"]
    scene.render.resolution_percentage = 100
    if hasattr(scene.render.image_settings, "media_type"):  # Blender 5 asks for the kind first
        scene.render.image_settings.media_type = "MULTI_LAYER_IMAGE"
    scene.render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
    scene.render.image_settings.color_depth = "32"
    scene.view_settings.view_transform = "Raw"
    _number_objects(request.get("ids", {}))
    layer = bpy.context.view_layer
    if request["kind"] == "labels":
        # One ray through each pixel's centre: what a label is about.
        layer.use_pass_z = True
        layer.use_pass_object_index = True
        scene.cycles.samples = 1
        scene.cycles.pixel_filter_type = "BOX"
        scene.cycles.filter_width = 0.01
        scene.cycles.use_adaptive_sampling = False
        scene.cycles.use_denoising = False
        # Glass is a surface to a label, a hole cut by an opacity mask is none.
        layer.pass_alpha_threshold = 0.02
    else:
        scene.cycles.samples = request["samples"]
        scene.cycles.max_bounces = request["bounces"]
        scene.cycles.diffuse_bounces = request["bounces"]
        scene.cycles.glossy_bounces = request["bounces"]
        scene.cycles.pixel_filter_type = "BOX"
        scene.cycles.filter_width = 1.0
        scene.cycles.use_adaptive_sampling = False
        scene.cycles.use_denoising = request["denoise"]
        if request["denoise"]:
            scene.cycles.denoiser = "OPENIMAGEDENOISE"
            scene.cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
            scene.cycles.denoising_quality = request.get("quality", "BALANCED")
        scene.cycles.seed = request.get("seed", 0)
    scene.render.filepath = request["output"]
    costs = []
    for _ in range(request.get("repeats", 1)):
        begin = time.process_time()
        bpy.ops.render.render(write_still=True)
        costs.append(time.process_time() - begin)
    return {"cpu_s": min(costs), "blender": bpy.app.version_string}


def _number_objects(ids: dict) -> None:
    """Gives every mesh the number of the object of the frame that it is a part of, others 0."""
    for item in bpy.data.objects:
        owner = item
        while owner is not None and owner.name not in ids:
            owner = owner.parent
        item.pass_index = 0 if owner is None else ids[owner.name]


if __name__ == "__main__":
    print("RESULT " + json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
