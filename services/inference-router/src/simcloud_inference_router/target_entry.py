"""One place that serves a model, as the catalogue describes it: its kind and what that needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simcloud.accounting.prices import prices

NAME = r"^[A-Za-z0-9][A-Za-z0-9._/@-]{0,127}$"
_HEADER_VALUE = r"^[\x21-\x7e]*$"
_RESOURCE = r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$|^$"
_S3_PREFIX = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[!-.0-~][!-~]{0,511})?$|^$"

TargetKind = Literal[
    "sagemaker",
    "sagemaker_serverless",
    "sagemaker_async",
    "sagemaker_stream",
    "aws_inference_router",
    "container",
]
"""How a target is asked."""

PartFraming = Literal["parts", "lines"]
"""What one answer of a streaming endpoint is: a part as it comes, or a line of their text."""

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class KindRules:
    """What a kind takes beside the fields that all have, and its defaults."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    timeout_s: float
    max_request_bytes: int
    """Default of the field."""
    largest_request_bytes: int
    """Largest value that the field may have."""


_PLACE = ("url", "region")
_WITHIN = ("variant", "component", "container_hostname")

KINDS: Final[Mapping[TargetKind, KindRules]] = {
    # 6,291,456: InvokeEndpoint's model; 25 MB: SageMaker's hosting FAQ.
    "sagemaker": KindRules(
        ("endpoint",),
        (*_PLACE, *_WITHIN, "target_model", "target_models", "sessions"),
        60.0,
        6_291_456,
        25 * MIB,
    ),
    # 4 MB: "Invoke a serverless endpoint" of SageMaker's guide.
    "sagemaker_serverless": KindRules(("endpoint",), _PLACE, 60.0, 4 * MIB, 4 * MIB),
    # 1 GB through S3 and an hour at most: "Asynchronous inference" of SageMaker's guide.
    "sagemaker_async": KindRules(
        ("endpoint", "input_prefix", "output_prefix"),
        (
            *_PLACE,
            *("failure_prefix", "inline_bytes", "request_ttl_s", "invocation_timeout_s"),
            *("poll_min_s", "poll_max_s", "delete_output"),
        ),
        900.0,
        1024 * MIB,
        1024 * MIB,
    ),
    # 8 minutes: SageMaker's hosting FAQ.
    "sagemaker_stream": KindRules(
        ("endpoint",), (*_PLACE, *_WITHIN, "part_framing"), 480.0, 6_291_456, 25 * MIB
    ),
    # InvokeInferenceRouter's model; 170 s because it may try a second destination.
    "aws_inference_router": KindRules(
        ("inference_router", "routing_target"), _PLACE, 170.0, 6_291_456, 6_291_456
    ),
    "container": KindRules(("url",), (), 60.0, 6_291_456, 25 * MIB),
}
"""The kinds of targets."""

_OF_SOME_KIND = frozenset(
    field for rules in KINDS.values() for field in (*rules.required, *rules.optional)
)


class TargetEntry(BaseModel):
    """One place that serves a model.

    A field that means nothing for the target's kind is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME)
    """Unique in the catalogue; appears in answers, metrics and messages."""
    kind: TargetKind
    """`sagemaker`: a real-time endpoint, or what speaks its protocol. `sagemaker_serverless`: one
    that is scaled to nothing when idle. `sagemaker_async`: one that is asked through S3.
    `sagemaker_stream`: one that answers in parts. `aws_inference_router`: AWS's own router.
    `container`: plain `/invocations`."""
    endpoint: str = Field(default="", pattern=_RESOURCE)
    """Endpoint's name. Required for the kinds of `sagemaker`."""
    url: str = Field(default="", pattern=r"^https?://[^/?#\s]+/?$|^$")
    """Base address. Required for `container`; for the others the region's service by default."""
    region: str = Field(default="", pattern=r"^[a-z0-9-]*$")
    """Region of the endpoint; the service's own by default."""
    variant: str = Field(default="", max_length=63, pattern=_HEADER_VALUE)
    """Production variant; overrides the endpoint's weights."""
    component: str = Field(default="", max_length=63, pattern=_HEADER_VALUE)
    """Inference component; needed where the endpoint hosts components."""
    container_hostname: str = Field(default="", max_length=63, pattern=_HEADER_VALUE)
    """Container of a multi-container endpoint in direct mode."""
    target_model: str = Field(default="", max_length=1024, pattern=_HEADER_VALUE)
    """Model on a multi-model endpoint."""
    target_models: tuple[
        Annotated[str, Field(min_length=1, max_length=1024, pattern=_HEADER_VALUE)], ...
    ] = ()
    """Models that a request may choose by its parameter `sm_target_model` on a multi-model
    endpoint; `*` stands for any characters but `/`."""
    sessions: bool = False
    """Whether the model is a stateful one: sequences of requests become SageMaker sessions."""
    part_framing: PartFraming = "parts"
    """Where one answer of a streaming endpoint ends, for a model that answers several times:
    with each part, or with each line of their text."""
    inference_router: str = Field(default="", pattern=_RESOURCE)
    """Name of AWS's inference router. Required for `aws_inference_router`."""
    routing_target: str = Field(default="", pattern=_RESOURCE)
    """Routing target of that router. Required for `aws_inference_router`."""
    input_prefix: str = Field(default="", pattern=_S3_PREFIX)
    """`bucket/prefix` that requests are written to when they are too large to be sent inline.
    Required for `sagemaker_async`; the role needs s3:PutObject and s3:DeleteObject there."""
    output_prefix: str = Field(default="", pattern=_S3_PREFIX)
    """`bucket/prefix` that the endpoint writes its answers to; answers elsewhere are not read.
    Required for `sagemaker_async`; the role needs s3:GetObject there and s3:ListBucket, without
    which S3 answers 403 for an answer that is not there yet."""
    failure_prefix: str = Field(default="", pattern=_S3_PREFIX)
    """`bucket/prefix` that the endpoint writes failures to; `output_prefix` by default."""
    inline_bytes: int = Field(default=128_000, ge=0, le=128_000)
    """Largest request that is sent inline to an asynchronous endpoint; 0: all go through S3."""
    request_ttl_s: int = Field(default=21_600, ge=60, le=21_600)
    """Longest time that a request waits in an asynchronous endpoint's queue, seconds; never more
    than its caller waits."""
    invocation_timeout_s: int = Field(default=900, ge=1, le=3600)
    """Longest time that the model works on one request of an asynchronous endpoint, seconds."""
    poll_min_s: float = Field(default=0.25, gt=0, le=60)
    """First wait for an asynchronous answer, seconds; each is half as long again as the last."""
    poll_max_s: float = Field(default=5.0, gt=0, le=60)
    """Longest wait between two looks for an asynchronous answer, seconds."""
    delete_output: bool = False
    """Whether an asynchronous answer is deleted once it is read; the role then needs
    s3:DeleteObject there. Otherwise a lifecycle rule of the bucket does it."""
    weight: float = Field(default=1.0, ge=0, le=1_000_000)
    """Share of the traffic among the model's targets of the same tier; 0: drained."""
    tier: int = Field(default=0, ge=0, le=15)
    """Lower ones first: a target of a higher tier is asked only while those below have no room."""
    timeout_s: float = Field(default=60.0, gt=0, le=21_600)
    """Longest time for one attempt. By kind: 60 s is the runtime's own limit; streams 480 s,
    asynchronous 900 s, AWS's router 170 s."""
    max_request_bytes: int = Field(default=6_291_456, ge=1, le=1024 * MIB)
    """Largest body. By kind: 6,291,456 is InvokeEndpoint's model; up to 25 MiB where SageMaker's
    newer limit of 25 MB holds; serverless 4 MiB, asynchronous 1 GiB."""
    instance_type: str = Field(default="", max_length=63)
    """Instance that serves it, for the estimate of its cost: one of the dated price table, for
    example `ml.g5.xlarge`; another one needs `usd_per_hour`. Empty: no estimate, unless that is
    given."""
    usd_per_hour: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """What an hour of it costs, US dollars, for the estimate of its cost: where the table's price
    is not yours, or several instances serve. Unset: the table's price of one `instance_type`."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_kind(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        rules = KINDS.get(data.get("kind", ""))
        if rules is None:
            return data
        return {
            "timeout_s": rules.timeout_s,
            "max_request_bytes": rules.max_request_bytes,
            **data,
        }

    @model_validator(mode="after")
    def _as_its_kind_wants(self) -> Self:
        rules = KINDS[self.kind]
        for field in rules.required:
            if not getattr(self, field):
                raise ValueError(f"target {self.name}: kind {self.kind} needs `{field}`")
        given = [field for field in sorted(_OF_SOME_KIND) if self._differs(field)]
        without_meaning = [
            field for field in given if field not in (*rules.required, *rules.optional)
        ]
        if without_meaning:
            verb = "means" if len(without_meaning) == 1 else "mean"
            names = ", ".join(without_meaning)
            raise ValueError(
                f"target {self.name}: {names} {verb} nothing for kind {self.kind}; remove "
                f"{'it' if len(without_meaning) == 1 else 'them'}"
            )
        if self.max_request_bytes > rules.largest_request_bytes:
            raise ValueError(
                f"target {self.name}: max_request_bytes is at most {rules.largest_request_bytes} "
                f"for kind {self.kind}, found {self.max_request_bytes}"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.poll_min_s > self.poll_max_s:
            raise ValueError(f"target {self.name}: poll_min_s is above poll_max_s")
        return self

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.instance_type and self.price_per_hour is None:
            known = ", ".join(sorted(prices()))
            raise ValueError(
                f"target {self.name}: the price of instance_type {self.instance_type} is not known "
                f"here (those of {known} are); give `usd_per_hour`"
            )
        return self

    @property
    def price_per_hour(self) -> float | None:
        """US dollars that an hour of it is estimated at; None: not known."""
        if self.usd_per_hour is not None:
            return self.usd_per_hour
        price = prices().get(self.instance_type)
        return None if price is None else price.usd_per_hour

    def _differs(self, field: str) -> bool:
        default: object = type(self).model_fields[field].default
        return bool(getattr(self, field) != default)
