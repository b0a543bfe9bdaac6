"""Endpoints found by their tags, over time: which are targets, and which were. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, get_args

from pydantic import ValidationError

from simcloud_inference_router.catalog import PictureCodecName, TensorCodecName, validation_problems
from simcloud_inference_router.discovery.options import (
    CODEC_TAG,
    DIGEST_TAG,
    MODEL_TAG,
    TIER_TAG,
    WEIGHT_TAG,
    DiscoveryOptions,
)
from simcloud_inference_router.target_entry import NAME, TargetEntry

SERVING: Final = frozenset(
    {"InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed"}
)
"""Values of SageMaker's EndpointStatus in which an endpoint takes requests: of a change that failed
or is under way it serves what it had."""

MISSES: Final = 2
"""Looks in a row that must miss an endpoint before it is gone: lists of tags are not consistent at
once, and an answer that is empty by mistake must not take a model out of service."""

_CODECS: Final = frozenset({*get_args(TensorCodecName), *get_args(PictureCodecName)})
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class TaggedEndpoint:
    """An endpoint with the tags that were asked for."""

    name: str
    status: str
    """SageMaker's EndpointStatus; empty: its list of endpoints has none of that name."""
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FoundTarget:
    """An endpoint as a target."""

    model: str
    codec: str
    """Codec that its tag names; empty: none."""
    digest: str
    """Digest that its tag names; empty: none."""
    entry: TargetEntry
    gone: bool = False
    """Whether it is kept for what is under way alone; its weight is 0 then."""


@dataclass(frozen=True, slots=True)
class Found:
    """What looking for endpoints has come to."""

    targets: tuple[FoundTarget, ...] = ()
    """In the order in which they were first seen."""
    problems: tuple[str, ...] = ()
    """Endpoints whose tags can't be followed, a sentence each."""


@dataclass(slots=True)
class _Known:
    target: FoundTarget
    missed: int = 0
    gone_at_s: float | None = None


class FoundEndpoints:
    """The endpoints that are targets by their tags.

    One that is in service becomes a target. One that is not in service any more, that ``MISSES``
    looks in a row have missed, or that another model got, gets nothing new for ``drain_s`` and is
    forgotten then. One whose tags have become wrong stays what it was.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def update(
        self, seen: Iterable[TaggedEndpoint], *, options: DiscoveryOptions, now_s: float
    ) -> Found:
        """Takes in what a whole look has seen.

        Args:
            seen: all endpoints that have the tags.
            options: what was asked.
            now_s: on any clock that never goes back, seconds.
        """
        present = {each.name: each for each in seen}
        problems: list[str] = []
        for name, known in tuple(self._known.items()):
            problem = _followed(known, present.get(name), options, now_s)
            if problem:
                problems.append(problem)
            if known.gone_at_s is not None and now_s - known.gone_at_s >= options.drain_s:
                del self._known[name]
        for name in sorted(present.keys() - self._known.keys()):
            endpoint = present[name]
            if endpoint.status in SERVING:
                try:
                    self._known[name] = _Known(read_endpoint(endpoint, options))
                except ValueError as exc:
                    problems.append(f"endpoint {name} is left out: {exc}")
        return Found(tuple(each.target for each in self._known.values()), tuple(problems))


def read_endpoint(endpoint: TaggedEndpoint, options: DiscoveryOptions) -> FoundTarget:
    """What an endpoint's tags ask for.

    Raises:
        ValueError: a tag has a value that it can't have; says which.
    """
    tags = endpoint.tags
    model, codec, digest = (tags.get(tag, "") for tag in (MODEL_TAG, CODEC_TAG, DIGEST_TAG))
    if not re.fullmatch(NAME, model):
        raise ValueError(f"tag {MODEL_TAG} is {model!r}, which is no name of a model")
    if codec and codec not in _CODECS:
        raise ValueError(f"tag {CODEC_TAG} is {codec!r}; there are: {', '.join(sorted(_CODECS))}")
    if digest and not _DIGEST.fullmatch(digest):
        raise ValueError(f"tag {DIGEST_TAG} is {digest!r}, which is no SHA-256 in hex")
    try:
        entry = options.defaults.target.entry(
            endpoint.name,
            region=options.region,
            weight=tags.get(WEIGHT_TAG, ""),
            tier=tags.get(TIER_TAG, ""),
        )
    except ValidationError as exc:
        raise ValueError(f"as a target it is not valid: {validation_problems(exc)}") from exc
    return FoundTarget(model=model, codec=codec, digest=digest, entry=entry)


def _followed(
    known: _Known, endpoint: TaggedEndpoint | None, options: DiscoveryOptions, now_s: float
) -> str:
    """Brings what is known up to date; gives the problem with that, if there is one."""
    if endpoint is None or not endpoint.status:
        known.missed += 1
        if known.missed >= MISSES:
            _leave(known, now_s)
        return ""
    known.missed = 0
    if endpoint.status not in SERVING:
        _leave(known, now_s)
        return ""
    name, model = endpoint.name, endpoint.tags.get(MODEL_TAG, "")
    if model != known.target.model and re.fullmatch(NAME, model):
        _leave(known, now_s)
        return f"endpoint {name} is drained for model {known.target.model} before {model} gets it"
    try:
        known.target = read_endpoint(endpoint, options)
    except ValueError as exc:
        return f"endpoint {name} stays what it was: {exc}"
    known.gone_at_s = None
    return ""


def _leave(known: _Known, now_s: float) -> None:
    if known.gone_at_s is None:
        known.gone_at_s = now_s
        entry = known.target.entry.model_copy(update={"weight": 0.0})
        known.target = replace(known.target, entry=entry, gone=True)
