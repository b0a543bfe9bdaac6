"""Where everything of a run is in S3: the one place that knows a key.

::

    <prefix>/<run>/spec.json                                      spec, digest, provenance
    <prefix>/<run>/plans/0001.json                                plan, by generation
    <prefix>/<run>/shards/000000.tar                              frames
    <prefix>/<run>/index/000000.parquet                           one row a frame and camera
    <prefix>/<run>/predictions/<model>@<digest>/000000.parquet    one a shard
    <prefix>/<run>/reports/<model>@<digest>/<name>                no part of a manifest's promise
    <prefix>/<run>/manifests/0001.json                            last, one a plan generation
    <prefix>/<run>/uploads/000000/<epoch>.json                    who owns an open shard
    <prefix>/<run>/uploads/fingerprint.json                       the render fingerprint of the run
    <prefix>/<run>/_aborted                                       the run was aborted
    <prefix>/scenes/<digest>/<path>                               a scene and its dependencies
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from simcloud.errors import InvalidRequest

SHARD_DIGITS = 6
GENERATION_DIGITS = 4
EPOCH_DIGITS = 4

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IP_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_RUN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_PREFIX_PART = re.compile(r"[A-Za-z0-9!_.*'()-]+")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_REPORT = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_MAX_PREFIX_BYTES = 512
SCENES = "scenes"


def check_bucket(bucket: str, *, field: str = "run.bucket") -> None:
    """Returns when it can be a bucket's name.

    Raises:
        InvalidRequest: it can't (S3's naming rules).
    """
    if not _BUCKET.fullmatch(bucket) or ".." in bucket or _IP_ADDRESS.fullmatch(bucket):
        raise InvalidRequest(
            field, f"{bucket!r} is not a bucket's name: 3 to 63 of [a-z0-9.-], no IP address"
        )


def check_prefix(prefix: str, *, field: str = "run.prefix") -> None:
    """Returns when runs may be below it.

    Raises:
        InvalidRequest: slashes at the ends, empty or dotted parts, unusual characters, too long.
    """
    parts = prefix.split("/") if prefix else []
    good = all(_PREFIX_PART.fullmatch(part) and part not in {".", ".."} for part in parts)
    if not good or len(prefix) > _MAX_PREFIX_BYTES:
        raise InvalidRequest(
            field,
            f"{prefix!r} is not a key prefix: parts of [A-Za-z0-9!_.*'()-] joined by single "
            f"slashes, none at the ends, at most {_MAX_PREFIX_BYTES} bytes",
        )


def check_run(run: str, *, field: str = "run.run") -> None:
    """Returns when it can be a run's name.

    Raises:
        InvalidRequest: it can't.
    """
    if not _RUN.fullmatch(run):
        raise InvalidRequest(
            field, f"{run!r} is not a run's name: 1 to 64 of [a-z0-9-_.], first a letter or digit"
        )
    if run == SCENES:
        raise InvalidRequest(field, f"{SCENES!r} is where scenes are: name the run otherwise")


@dataclass(frozen=True, slots=True)
class ModelKey:
    """A model that made predictions, by name and content."""

    model: str
    """1 to 128 of [A-Za-z0-9._-]."""
    digest: str
    """Lower-case hex, 8 to 64 digits."""

    def __post_init__(self) -> None:
        if not _MODEL.fullmatch(self.model):
            raise InvalidRequest("model", f"{self.model!r} is not 1 to 128 of [A-Za-z0-9._-]")
        if not _DIGEST.fullmatch(self.digest):
            raise InvalidRequest("digest", f"{self.digest!r} is not 8 to 64 hex digits")

    def __str__(self) -> str:
        return f"{self.model}@{self.digest}"

    @classmethod
    def parse(cls, text: str) -> ModelKey:
        """The key that ``str`` wrote.

        Raises:
            InvalidRequest: not ``<model>@<digest>``.
        """
        model, _, digest = text.rpartition("@")
        return cls(model=model, digest=digest)


class KeyKind(StrEnum):
    """What an object of a run is."""

    SPEC = "spec"
    PLAN = "plan"
    SHARD = "shard"
    INDEX = "index"
    PREDICTIONS = "predictions"
    REPORT = "report"
    MANIFEST = "manifest"
    EPOCH = "epoch"
    FINGERPRINT = "fingerprint"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class RunKey:
    """A key of a run, taken apart."""

    kind: KeyKind
    shard: int = 0
    """Of a shard, index, predictions or epoch."""
    number: int = 0
    """Generation of a plan or manifest; number of an epoch."""
    model: ModelKey | None = None
    """Of predictions or a report."""
    name: str = ""
    """Of a report."""


_MODEL_PART = r"(?P<model>[A-Za-z0-9][A-Za-z0-9._-]{0,127}@[0-9a-f]{8,64})"
_PATTERNS: tuple[tuple[KeyKind, re.Pattern[str]], ...] = (
    (KeyKind.SPEC, re.compile(r"spec\.json")),
    (KeyKind.ABORTED, re.compile(r"_aborted")),
    (KeyKind.PLAN, re.compile(r"plans/(?P<number>\d{4})\.json")),
    (KeyKind.MANIFEST, re.compile(r"manifests/(?P<number>\d{4})\.json")),
    (KeyKind.SHARD, re.compile(r"shards/(?P<shard>\d{6,9})\.tar")),
    (KeyKind.INDEX, re.compile(r"index/(?P<shard>\d{6,9})\.parquet")),
    (KeyKind.EPOCH, re.compile(r"uploads/(?P<shard>\d{6,9})/(?P<number>\d{4,9})\.json")),
    (KeyKind.FINGERPRINT, re.compile(r"uploads/fingerprint\.json")),
    (
        KeyKind.PREDICTIONS,
        re.compile(rf"predictions/{_MODEL_PART}/(?P<shard>\d{{6,9}})\.parquet"),
    ),
    (KeyKind.REPORT, re.compile(rf"reports/{_MODEL_PART}/(?P<name>.+)")),
)


@dataclass(frozen=True, slots=True)
class RunLocation:
    """Where a run lives: everything of it is below ``s3://<bucket>/<prefix>/<run>/``.

    Raises:
        InvalidRequest: a name that can't be one.
    """

    bucket: str
    prefix: str
    """Without leading or trailing slash; empty: the bucket's root."""
    run: str

    def __post_init__(self) -> None:
        check_bucket(self.bucket)
        check_prefix(self.prefix)
        check_run(self.run)

    @classmethod
    def from_uri(cls, uri: str) -> RunLocation:
        """The location of ``s3://<bucket>/[<prefix>/]<run>``; a trailing slash is allowed.

        Raises:
            InvalidRequest: not such a URI.
        """
        scheme, _, rest = uri.partition("://")
        bucket, _, path = rest.rstrip("/").partition("/")
        prefix, _, run = path.rpartition("/")
        if scheme != "s3" or not run:
            raise InvalidRequest("run", f"{uri!r} is not s3://<bucket>/[<prefix>/]<run>")
        return cls(bucket=bucket, prefix=prefix, run=run)

    def __str__(self) -> str:
        return self.uri

    @property
    def uri(self) -> str:
        """``s3://<bucket>/<prefix>/<run>``."""
        return f"s3://{self.bucket}/{self.root.rstrip('/')}"

    @property
    def root(self) -> str:
        """What all keys of the run begin with; ends with a slash."""
        return f"{self.prefix}/{self.run}/" if self.prefix else f"{self.run}/"

    def key(self, path: str) -> str:
        """Key of a path within the run, for example ``shards/000000.tar``."""
        return self.root + path

    @property
    def spec_key(self) -> str:
        """The spec."""
        return self.key("spec.json")

    @property
    def aborted_key(self) -> str:
        """Present when the run was aborted."""
        return self.key("_aborted")

    @property
    def plans_prefix(self) -> str:
        """What plans' keys begin with."""
        return self.key("plans/")

    def plan_key(self, generation: int) -> str:
        """A plan, by generation from 1."""
        return f"{self.plans_prefix}{generation:0{GENERATION_DIGITS}d}.json"

    @property
    def shards_prefix(self) -> str:
        """What shards' keys begin with."""
        return self.key("shards/")

    def shard_key(self, shard: int) -> str:
        """A shard's tar object."""
        return self.key(shard_path(shard))

    @property
    def index_prefix(self) -> str:
        """What indexes' keys begin with."""
        return self.key("index/")

    def index_key(self, shard: int) -> str:
        """A shard's index."""
        return f"{self.index_prefix}{shard:0{SHARD_DIGITS}d}.parquet"

    def predictions_prefix(self, model: ModelKey) -> str:
        """What the keys of a model's predictions begin with."""
        return self.key(f"predictions/{model}/")

    def prediction_key(self, model: ModelKey, shard: int) -> str:
        """A model's predictions for a shard."""
        return f"{self.predictions_prefix(model)}{shard:0{SHARD_DIGITS}d}.parquet"

    def report_key(self, model: ModelKey, name: str) -> str:
        """A file of a model's report, for example ``metrics.json``.

        Raises:
            InvalidRequest: not a file's name.
        """
        if not _REPORT.fullmatch(name) or ".." in name:
            raise InvalidRequest("report", f"{name!r} is not a file name of [A-Za-z0-9._-/]")
        return self.key(f"reports/{model}/{name}")

    @property
    def manifests_prefix(self) -> str:
        """What manifests' keys begin with."""
        return self.key("manifests/")

    def manifest_key(self, generation: int) -> str:
        """The manifest of a plan generation, from 1."""
        return f"{self.manifests_prefix}{generation:0{GENERATION_DIGITS}d}.json"

    @property
    def uploads_prefix(self) -> str:
        """What epoch objects' keys begin with."""
        return self.key("uploads/")

    @property
    def fingerprint_key(self) -> str:
        """The render fingerprint that the run was begun with."""
        return f"{self.uploads_prefix}fingerprint.json"

    def epochs_prefix(self, shard: int) -> str:
        """What the keys of one shard's epoch objects begin with."""
        return f"{self.uploads_prefix}{shard:0{SHARD_DIGITS}d}/"

    def epoch_key(self, shard: int, epoch: int) -> str:
        """An epoch object, from 1."""
        return f"{self.epochs_prefix(shard)}{epoch:0{EPOCH_DIGITS}d}.json"

    def parse(self, key: str) -> RunKey | None:
        """What a key of this run is, or None when nothing of ours is called so."""
        if not key.startswith(self.root):
            return None
        path = key[len(self.root) :]
        for kind, pattern in _PATTERNS:
            if match := pattern.fullmatch(path):
                return _run_key(kind, match.groupdict())
        return None


def _run_key(kind: KeyKind, groups: dict[str, str]) -> RunKey:
    model = groups.get("model")
    return RunKey(
        kind=kind,
        shard=int(groups.get("shard", "0")),
        number=int(groups.get("number", "0")),
        model=ModelKey.parse(model) if model else None,
        name=groups.get("name", ""),
    )


def shard_path(shard: int) -> str:
    """A shard's tar object within its run."""
    return f"shards/{shard:0{SHARD_DIGITS}d}.tar"


def scene_root(prefix: str, digest: str) -> str:
    """What the keys of a scene begin with; ends with a slash.

    Args:
        prefix: the runs' prefix.
        digest: SHA-256 of the scene bundle, 64 hex digits.

    Raises:
        InvalidRequest: not a digest.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise InvalidRequest("spec.scene.digest", f"{digest!r} is not 64 hex digits")
    return f"{prefix}/{SCENES}/{digest}/" if prefix else f"{SCENES}/{digest}/"
