"""The generator's metrics."""

from __future__ import annotations

from simcloud.telemetry.metrics import counter, gauge, histogram
from simcloud.telemetry.names import Metric, declare

FRAMES = counter(
    declare(
        Metric(
            name="simcloud_generator_frames",
            kind="counter",
            help="Frames made, by outcome: rendered or quarantined.",
            labels=("outcome",),
        )
    )
)
QUARANTINED_FRAMES = counter(
    declare(
        Metric(
            name="simcloud_generator_quarantined_frames",
            kind="counter",
            help="Frames kept out of the data, by the rule of label QA that they broke.",
            labels=("rule",),
        )
    )
)
STAGE_SECONDS = histogram(
    declare(
        Metric(
            name="simcloud_generator_stage_seconds",
            kind="histogram",
            help="Wall-clock time of one frame by stage.",
            labels=("stage",),
        )
    )
)
CPU_SECONDS = counter(
    declare(
        Metric(
            name="simcloud_generator_cpu_seconds",
            kind="counter",
            help="CPU time of the workers for frames.",
        )
    )
)
WORKERS_BUSY = gauge(
    declare(
        Metric(
            name="simcloud_generator_workers_busy",
            kind="gauge",
            help="Workers that have a job.",
        )
    )
)
RECYCLED_WORKERS = counter(
    declare(
        Metric(
            name="simcloud_generator_recycled_workers",
            kind="counter",
            help="Workers replaced because they had rendered or grown enough.",
        )
    )
)
LOST_WORKERS = counter(
    declare(
        Metric(
            name="simcloud_generator_lost_workers",
            kind="counter",
            help="Workers that ended in the middle of a job, by cause: died, or hung (ended since "
            "they took longer than frame_timeout_s).",
            labels=("cause",),
        )
    )
)
KERNELS = counter(
    declare(
        Metric(
            name="simcloud_generator_kernels",
            kind="counter",
            help="Kernels that a worker, by its place in the pool, had to get: compiled, or cached "
            "(read from the kernel cache). After a scene's first frames neither should grow.",
            labels=("worker", "source"),
        )
    )
)
SHARDS = counter(
    declare(
        Metric(
            name="simcloud_generator_shards",
            kind="counter",
            help="Shards ended, by outcome: committed or failed.",
            labels=("outcome",),
        )
    )
)
RESTARTED_SHARDS = counter(
    declare(
        Metric(
            name="simcloud_generator_restarted_shards",
            kind="counter",
            help="Times a shard had to be rendered again from an earlier frame.",
        )
    )
)
