"""Metrics and logs: every metric's name stands here once."""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The process's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "simcloud_model_requests",
            "Requests answered, by model and HTTP status of the container",
            ["model", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "simcloud_model_request_seconds",
            "Time from a request's headers to its answer",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "simcloud_model_stage_seconds",
            "Time in a stage: read (decode, resize), infer (wait and network), answer (encode)",
            ["model", "stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_images = Histogram(
            "simcloud_model_batch_images",
            "Images a batch",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.images_admitted = Gauge(
            "simcloud_model_images_admitted",
            "Images admitted and not yet answered",
            ["model"],
            registry=self.registry,
        )


def configure_logging(level: str) -> None:
    """One JSON object a line on standard error; standard output is for announcements."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
