"""A worker process that renders nothing: it answers, hangs or ends as the frame's number says."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

from simcloud_generator.backends.mitsuba.variant import Verdict
from simcloud_generator.jobs import FrameResult, RenderJob, WorkerConfiguration, WorkerIdentity

HANGS = 1_000
"""The frame that is never finished, neither by its pipe's end nor by SIGTERM."""

CONFIGURATION = WorkerConfiguration(
    variant="scalar_rgb",
    threads=1,
    kernel_cache=Path("kernels"),
    verdicts=(Verdict(variant="scalar_rgb", library="", problem=None),),
)

_IDENTITY = WorkerIdentity(
    backend="mitsuba",
    variant="scalar_rgb",
    variants=("scalar_rgb",),
    stochastic=False,
    fingerprint="f" * 16,
    fingerprint_json="{}",
    preflight=(),
)


def run_paper_worker(connection: Connection, configuration: WorkerConfiguration) -> None:
    """In place of ``simcloud_generator.worker.run_worker``."""
    del configuration
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection.send(_IDENTITY)
    while True:
        try:
            job: RenderJob = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        while job.frame == HANGS:
            signal.pause()
        connection.send(
            FrameResult(
                frame=job.frame,
                views=(),
                timings_s={},
                cpu_s=0.0,
                quarantine="",
                quarantine_rule="",
                rss_bytes=os.getpid(),
            )
        )


def run_silent_worker(connection: Connection, configuration: WorkerConfiguration) -> None:
    """A worker that never says who it is, as one whose renderer hangs at its start."""
    del connection, configuration
    while True:
        signal.pause()


def paper_job(frame: int) -> RenderJob:
    """A job for a paper worker."""
    return RenderJob(stage=Path("stage.usda"), spec_json=b"{}", split="train", frame=frame)
