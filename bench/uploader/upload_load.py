"""The frames that the benchmark sends: random layers, nothing in them repeats."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.tar import END_OF_ARCHIVE, pack_frame
from simcloud.spec.plan import Plan, ShardFrames
from support.dataset_frames import LAYERS, SPEC, make_frame, make_layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent: ``shards`` shards of ``frames`` frames, each by the spec's cameras."""

    shards: int
    frames: int
    layer_bytes: int
    """Of each of a camera's three layers."""

    @property
    def plan(self) -> Plan:
        """The run's plan."""
        return Plan(frames=self.shards * self.frames, frames_per_shard=self.frames)

    @property
    def max_frame_bytes(self) -> int:
        """Upper bound of one frame's payload, all cameras."""
        return len(SPEC.cameras) * (len(LAYERS) * self.layer_bytes + 20_000)

    def shard(self, shard: ShardFrames) -> Iterator[EncodedFrame]:
        """Every frame and camera of a shard; the same bytes each time."""
        plan = self.plan
        for frame in range(shard.first, shard.end):
            for camera in SPEC.cameras:
                rng = random.Random(f"{frame}.{camera.name}")  # noqa: S311 - content, no secret
                layers = [make_layer(name, rng.randbytes(self.layer_bytes)) for name in LAYERS]
                yield make_frame(frame, camera.name, layers=layers, plan=plan)

    def write_tars(self, folder: Path) -> list[Path]:
        """The shards as files, for who uploads files; byte for byte what the uploader stores."""
        files = []
        for shard in self.plan.shards():
            file = folder / f"{shard.shard:06d}.tar"
            offset = 0
            with file.open("wb") as out:
                for frame in self.shard(shard):
                    packed = pack_frame(frame, offset=offset)
                    out.writelines(packed.chunks)
                    offset += packed.size_bytes
                out.write(END_OF_ARCHIVE)
            files.append(file)
        return files
