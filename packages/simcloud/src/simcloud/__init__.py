"""Simcloud: labelled synthetic pictures from an OpenUSD scene to S3, and what a model sees in them.

The names below are the library's public face (``tests/unit/simcloud/test_public_names.py`` holds
them). Sub-packages may be imported too; names that begin with an underscore are not API. Nothing
heavy is imported before one of these names is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "simcloud.accounting.reconcile": ("reconcile",),
    "simcloud.annotators": ("ANNOTATORS", "Annotator", "Encoding"),
    "simcloud.client.generator": ("GeneratorClient",),
    "simcloud.client.router": ("RouterClient",),
    "simcloud.client.sync_router": ("SyncRouterClient",),
    "simcloud.client.uploader": ("UploaderClient",),
    "simcloud.dataset.encode": ("decode", "encode"),
    "simcloud.dataset.frames": ("EncodedFrame", "FrameRef", "Layer"),
    "simcloud.dataset.layout": ("ModelKey", "RunLocation"),
    "simcloud.dataset.loading": ("FrameDataset", "FrameStream"),
    "simcloud.dataset.reader": ("Dataset",),
    "simcloud.dataset.record": ("FrameRecord", "ObjectRecord", "record_from_json"),
    "simcloud.dataset.selection": ("Filter",),
    "simcloud.dataset.source": ("Sample", "Source"),
    "simcloud.errors": (
        "AlreadyExists",
        "Conflict",
        "Corruption",
        "InvalidRequest",
        "NotFound",
        "NotReady",
        "Overloaded",
        "PermissionDenied",
        "PreconditionFailed",
        "SimcloudError",
        "StorageError",
        "TargetError",
    ),
    "simcloud.rpc.channel": ("connect",),
    "simcloud.s3.client": ("S3Settings",),
    "simcloud.s3.objects": ("ObjectStore", "open_store"),
    "simcloud.scene.catalog": ("Catalog", "read_catalog"),
    "simcloud.spec.canonical": ("canonical_json",),
    "simcloud.spec.model": ("Spec",),
    "simcloud.spec.parameters": ("FrameParameters",),
    "simcloud.spec.plan": ("CountingRule", "Plan"),
    "simcloud.spec.sample": ("sample",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if TYPE_CHECKING:
    from simcloud.accounting.reconcile import reconcile
    from simcloud.annotators import ANNOTATORS, Annotator, Encoding
    from simcloud.client.generator import GeneratorClient
    from simcloud.client.router import RouterClient
    from simcloud.client.sync_router import SyncRouterClient
    from simcloud.client.uploader import UploaderClient
    from simcloud.dataset.encode import decode, encode
    from simcloud.dataset.frames import EncodedFrame, FrameRef, Layer
    from simcloud.dataset.layout import ModelKey, RunLocation
    from simcloud.dataset.loading import FrameDataset, FrameStream
    from simcloud.dataset.reader import Dataset
    from simcloud.dataset.record import FrameRecord, ObjectRecord, record_from_json
    from simcloud.dataset.selection import Filter
    from simcloud.dataset.source import Sample, Source
    from simcloud.errors import (
        AlreadyExists,
        Conflict,
        Corruption,
        InvalidRequest,
        NotFound,
        NotReady,
        Overloaded,
        PermissionDenied,
        PreconditionFailed,
        SimcloudError,
        StorageError,
        TargetError,
    )
    from simcloud.rpc.channel import connect
    from simcloud.s3.client import S3Settings
    from simcloud.s3.objects import ObjectStore, open_store
    from simcloud.scene.catalog import Catalog, read_catalog
    from simcloud.spec.canonical import canonical_json
    from simcloud.spec.model import Spec
    from simcloud.spec.parameters import FrameParameters
    from simcloud.spec.plan import CountingRule, Plan
    from simcloud.spec.sample import sample

__all__ = [
    "ANNOTATORS",
    "AlreadyExists",
    "Annotator",
    "Catalog",
    "Conflict",
    "Corruption",
    "CountingRule",
    "Dataset",
    "EncodedFrame",
    "Encoding",
    "Filter",
    "FrameDataset",
    "FrameParameters",
    "FrameRecord",
    "FrameRef",
    "FrameStream",
    "GeneratorClient",
    "InvalidRequest",
    "Layer",
    "ModelKey",
    "NotFound",
    "NotReady",
    "ObjectRecord",
    "ObjectStore",
    "Overloaded",
    "PermissionDenied",
    "Plan",
    "PreconditionFailed",
    "RouterClient",
    "RunLocation",
    "S3Settings",
    "Sample",
    "SimcloudError",
    "Source",
    "Spec",
    "StorageError",
    "SyncRouterClient",
    "TargetError",
    "UploaderClient",
    "canonical_json",
    "connect",
    "decode",
    "encode",
    "open_store",
    "read_catalog",
    "reconcile",
    "record_from_json",
    "sample",
]


def __getattr__(name: str) -> object:
    try:
        home = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module 'simcloud' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
