"""Looking at stages in a process of its own: whatever they are, the caller lives on."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pxr import UsdGeom, UsdUtils, Vt

from simcloud.client.generator import GeneratorClient
from simcloud.errors import InvalidRequest, NotFound
from simcloud.rpc.channel import connect
from simcloud.s3.objects import ObjectStore
from simcloud.scene.apart import inspect_apart
from simcloud.scene.bundle import make_bundle
from simcloud.scene.inspection import inspect_stage
from simcloud.scene.limits import SceneLimits
from simcloud.scene.remote import fetch_pictures, fetch_stage
from simcloud.scene.store import SceneStore, put_bundle
from simcloud.spec.model import SceneRef, Spec
from simcloud_generator.scenes import Scenes
from simcloud_generator.serving import running_generator
from simcloud_generator.settings import GeneratorSettings
from support import scenes
from support.s3_server import S3Server

MUTATIONS = 40
FUZZ = """
import os, random, sys
from pathlib import Path
from simcloud.scene.inspection import inspect_stage
source, count = Path(sys.argv[1]), int(sys.argv[2])
original, bad = source.read_bytes(), []
inspect_stage(source)  # what USD loads once, the children have
for seed in range(count):
    draw, data = random.Random(seed), bytearray(original)
    for _ in range(draw.choice((1, 3, 30))):
        data[draw.randrange(len(data))] = draw.randrange(256)
    if draw.random() < 0.1:
        del data[draw.randrange(len(data)):]
    child = os.fork()
    if child == 0:
        os.close(1), os.close(2)
        path = source.with_name(f"mutant{seed}{source.suffix}")
        path.write_bytes(data)
        try:
            inspect_stage(path)
        except BaseException:
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 3:
        bad.append(seed)
print("unhandled:", bad)
"""


def mixed_stage(folder: Path, name: str) -> Path:
    """A little of everything."""
    scenes.furnished_stage(folder)
    stage = scenes.new_stage()
    stage.GetRootLayer().TransferContent(_layer(folder / "stage.usda"))
    instancer = UsdGeom.PointInstancer.Define(stage, "/World/Field")
    instancer.CreatePrototypesRel().AddTarget("/World/Room/Floor")
    instancer.CreateProtoIndicesAttr(Vt.IntArray([0, 0]))
    instancer.CreatePositionsAttr(Vt.Vec3fArray([(0, 0, 1), (0, 0, 2)]))
    UsdGeom.Camera.Define(stage, "/World/Camera")
    return scenes.save(stage, folder, name)


def _layer(path: Path) -> Any:
    from pxr import Sdf

    return Sdf.Layer.FindOrOpen(str(path))


@pytest.mark.parametrize("name", ["scene.usda", "scene.usdc"])
def test_bytes_changed_at_random_never_raise_what_nobody_expects(name: str, tmp_path: Path) -> None:
    path = mixed_stage(tmp_path, name)
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(path), str(MUTATIONS)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PXR_WORK_THREAD_LIMIT": "1"},
    )
    assert done.stdout.strip() == "unhandled: []", done.stderr


async def test_the_answer_is_that_of_a_look_in_this_process(tmp_path: Path) -> None:
    path = mixed_stage(tmp_path, "scene.usdc")
    assert await inspect_apart(path) == inspect_stage(path)


async def test_a_crash_is_an_answer(tmp_path: Path) -> None:
    data = bytearray(mixed_stage(tmp_path, "scene.usdc").read_bytes())
    draw = random.Random(5)
    for _ in range(len(data) // 4):
        data[draw.randrange(100, len(data))] = draw.randrange(256)
    path = tmp_path / "wreck.usdc"
    path.write_bytes(data)
    assert (await inspect_apart(path)).problems


async def test_a_stage_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.usda")  # opening it waits for a writer
    path = tmp_path / "stage.usda"
    path.write_text('#usda 1.0\ndef "A" (references = @./endless.usda@) {}\n')
    found = await inspect_apart(path, limits=SceneLimits(inspect_seconds=3.0))
    assert "took more than 3 s to be read (scene_limits.inspect_seconds)" in found.problems[0]


async def test_a_stage_that_takes_too_much_memory_is_given_up(tmp_path: Path) -> None:
    stage = scenes.new_stage()
    mesh = UsdGeom.Mesh.Define(stage, "/World/Cloud")
    count = 4_000_000
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(np.zeros((3, 3), np.float32)))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(count, 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(
        Vt.IntArray.FromNumpy(np.tile(np.arange(3, dtype=np.int32), count))
    )
    path = scenes.save(stage, tmp_path, "cloud.usdc")
    assert path.stat().st_size < 2_000_000  # it compresses well
    found = await inspect_apart(path, limits=SceneLimits(inspect_memory_mib=768))
    assert "scene_limits.inspect_memory_mib" in found.problems[0]


async def stored(
    store: ObjectStore, bucket: str, folder: Path, stage: Path, root: Path | None = None
) -> SceneRef:
    bundle = make_bundle(stage, root or folder)
    await put_bundle(store, bundle, bucket=bucket, prefix="")
    return SceneRef(root=bundle.stage, digest=bundle.digest)


async def test_a_generators_scenes_are_looked_at_once_and_refused_for_good(
    store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    fine = await stored(store, bucket, good, scenes.furnished_stage(good))
    stage = scenes.new_stage()
    scenes.add_cube(stage, "/World/Cube", size=-1.0)
    broken = await stored(store, bucket, bad, scenes.save(stage, bad))
    cache = SceneStore(store, cache=tmp_path / "cache", limit_bytes=1 << 20)
    opened = Scenes(cache, limits=SceneLimits())
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(opened.fetch(bucket, "", fine)) for _ in range(4)]
    assert {task.result() for task in tasks} == {tmp_path / "cache" / fine.digest / "stage.usda"}
    for _ in range(2):
        with pytest.raises(InvalidRequest, match=r"/World/Cube.size must be above 0, found -1"):
            await opened.fetch(bucket, "", broken)
    for root in ("../../../../etc/passwd", "/etc/passwd"):
        with pytest.raises(InvalidRequest, match="leads out of the scene"):
            await opened.fetch(bucket, "", fine.model_copy(update={"root": root}))
    with pytest.raises(NotFound, match=r"has no other\.usda"):
        await opened.fetch(bucket, "", fine.model_copy(update={"root": "other.usda"}))
    cache.close()


def spec_of(scene: SceneRef) -> Spec:
    """One small picture."""
    return Spec.model_validate(
        {
            "version": "simcloud.spec/v1",
            "seed": 1,
            "scene": scene.model_dump(),
            "annotators": ["rgb", "instance_segmentation"],
            "cameras": [
                {
                    "name": "main",
                    "width_px": 32,
                    "height_px": 24,
                    "placement": {"kind": "look_at", "eye": [0, -4, 2], "target": [0, 0, 0]},
                }
            ],
            "renderer": {"samples_per_pixel": 1, "denoise": False},
        }
    )


async def test_a_generator_refuses_a_wreck_and_renders_the_next_scene(
    store: ObjectStore, bucket: str, s3_server: S3Server, tmp_path: Path
) -> None:
    """A plain package, without any convention of ours, with a light and labels of its own."""
    wreck, plain = tmp_path / "wreck", tmp_path / "plain"
    wreck.mkdir()
    plain.mkdir()
    stage = scenes.new_stage(up_axis="Y", metres_per_unit=0.01)
    scenes.add_cube(stage, "/World/Table", size=100.0, label="table")
    stage.DefinePrim("/World/Sky", "DomeLight")
    package = plain / "kitchen.usdz"
    assert UsdUtils.CreateNewUsdzPackage(str(scenes.save(stage, plain)), str(package))
    (plain / "stage.usda").unlink()
    kitchen = await stored(store, bucket, plain, package)
    path = wreck / "stage.usda"
    path.write_text('#usda 1.0\ndef "A" (references = </A>) {}\n')
    broken = await stored(store, bucket, wreck, path)
    settings = GeneratorSettings(s3=s3_server.settings, cache_dir=tmp_path / "cache", workers=1)
    async with running_generator(settings) as (_, server), connect(server.address) as channel:
        client = GeneratorClient(channel)
        check = await client.validate(spec_of(broken), bucket=bucket, prefix="")
        assert not check.valid
        assert "Cycle detected" in check.violations[0][1]
        assert str(tmp_path) not in check.violations[0][1]
        with pytest.raises(InvalidRequest, match="Cycle detected"):
            await client.preview(spec_of(broken), frame=0, bucket=bucket, prefix="")
        assert (await client.validate(spec_of(kitchen), bucket=bucket, prefix="")).valid
        frames = await client.preview(spec_of(kitchen), frame=0, bucket=bucket, prefix="")
        assert b'"table"' in frames[0].record


async def test_a_stage_in_s3_is_fetched_with_all_that_it_names(
    store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    files = {
        "team/scenes/kitchen.usda": '#usda 1.0\ndef "W" (references = @../parts/a.usda@</A>) {}\n',
        "team/parts/a.usda": (
            '#usda 1.0\ndef Xform "A"\n{\n    def DomeLight "Sky"\n    {\n'
            "        asset inputs:texture:file = @tex/sky.<UDIM>.exr@\n    }\n"
            '    def Shader "S"\n    {\n        asset info:mdl:sourceAsset = @OmniPBR.mdl@\n'
            "        asset info:mdl:own = @own.mdl@\n    }\n}\n"
        ),
        "team/parts/own.mdl": "mdl 1.4;",
        "team/parts/tex/sky.1001.exr": "x",
        "team/parts/tex/sky.1002.exr": "y",
        "team/parts/tex/sky.other.exr": "z",
        "team/scenes/lost.usda": '#usda 1.0\ndef "W" (references = @./gone.usda@</A>) {}\n',
        "team/scenes/far.usda": '#usda 1.0\ndef "W" (references = @../../../x.usda@</A>) {}\n',
        "team/scenes/web.usda": '#usda 1.0\ndef "W" (references = @https://x.y/x.usda@</A>) {}\n',
    }
    for key, text in files.items():
        await store.put(bucket, key, text.encode())
    uri = f"s3://{bucket}/team/scenes/"
    path = await fetch_stage(store, uri + "kitchen.usda", folder=tmp_path / "a")
    assert path == tmp_path / "a" / "team/scenes/kitchen.usda"
    found = sorted(p.relative_to(tmp_path / "a").as_posix() for p in path.parents[2].rglob("*.*"))
    assert found == [
        "team/parts/a.usda",
        "team/parts/own.mdl",
        "team/parts/tex/sky.1001.exr",
        "team/parts/tex/sky.1002.exr",
        "team/scenes/kitchen.usda",
    ]
    with pytest.raises(NotFound, match=r"gone\.usda, which s3://.*lost\.usda names"):
        await fetch_stage(store, uri + "lost.usda", folder=tmp_path / "b")
    with pytest.raises(InvalidRequest, match="leads out of the bucket"):
        await fetch_stage(store, uri + "far.usda", folder=tmp_path / "c")
    with pytest.raises(InvalidRequest, match="URLs inside a stage are not fetched"):
        await fetch_stage(store, uri + "web.usda", folder=tmp_path / "d")
    with pytest.raises(InvalidRequest, match="more than 10 bytes"):
        await fetch_stage(
            store, uri + "kitchen.usda", folder=tmp_path / "e", limits=SceneLimits(max_bytes=10)
        )


async def test_pictures_in_s3_are_fetched_one_or_a_folder(
    store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    for key in ("woods/oak.png", "woods/Ash.JPG", "woods/notes.txt", "woods/below/deep.png"):
        await store.put(bucket, key, key.encode())
    found = await fetch_pictures(store, f"s3://{bucket}/woods/", folder=tmp_path / "all")
    assert {path.name: path.read_bytes() for path in found} == {
        "Ash.JPG": b"woods/Ash.JPG",
        "oak.png": b"woods/oak.png",
    }
    (one,) = await fetch_pictures(store, f"s3://{bucket}/woods/oak.png", folder=tmp_path / "one")
    assert one.read_bytes() == b"woods/oak.png"
    with pytest.raises(NotFound, match=r"there is no s3://.*/woods/elm\.png"):
        await fetch_pictures(store, f"s3://{bucket}/woods/elm.png", folder=tmp_path / "none")
    with pytest.raises(InvalidRequest, match=r"there is no picture in s3://.*/stones/ \(\.png"):
        await fetch_pictures(store, f"s3://{bucket}/stones/", folder=tmp_path / "none")
    with pytest.raises(InvalidRequest, match="has 2 pictures, 1 at most"):
        await fetch_pictures(
            store,
            f"s3://{bucket}/woods/",
            folder=tmp_path / "few",
            limits=SceneLimits(max_files=1),
        )
