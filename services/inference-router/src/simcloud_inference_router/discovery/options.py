"""Targets that no catalogue writes: endpoints found by their tags, as a catalogue asks for them."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from simcloud_inference_router.target_entry import PartFraming, TargetEntry

MODEL_TAG: Final = "simcloud:model"
"""Tag that makes an endpoint a target: the name of its model."""
CODEC_TAG: Final = "simcloud:codec"
WEIGHT_TAG: Final = "simcloud:weight"
TIER_TAG: Final = "simcloud:tier"
DIGEST_TAG: Final = "simcloud:digest"

FoundKind: TypeAlias = Literal["sagemaker", "sagemaker_serverless", "sagemaker_stream"]
"""Kinds that need nothing but the endpoint's name."""


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FoundTargetOptions(_Options):
    """What all found endpoints have in common as targets."""

    kind: FoundKind = "sagemaker"
    """Kind of each."""
    timeout_s: float | None = Field(default=None, gt=0, le=21_600)
    """Longest time for one attempt, seconds; the kind's own by default."""
    max_request_bytes: int | None = Field(default=None, ge=1)
    """Largest body; the kind's own by default."""
    sessions: bool = False
    """Whether the models are stateful; as `sessions` of a target."""
    part_framing: PartFraming = "parts"
    """For streaming endpoints; as `part_framing` of a target."""

    def entry(self, endpoint: str, *, region: str, weight: str, tier: str) -> TargetEntry:
        """An endpoint as a target, which has its name.

        Args:
            endpoint: the endpoint's name.
            region: of it; empty: the service's own.
            weight: as its tag says; empty: not given.
            tier: likewise.

        Raises:
            ValueError: one of them is not what a target may have.
        """
        given: dict[str, object] = {"weight": weight, "tier": tier, "timeout_s": self.timeout_s}
        given["max_request_bytes"] = self.max_request_bytes
        return TargetEntry.model_validate(
            {
                "name": endpoint,
                "endpoint": endpoint,
                "kind": self.kind,
                "region": region,
                "sessions": self.sessions,
                "part_framing": self.part_framing,
                **{name: value for name, value in given.items() if value not in (None, "")},
            }
        )


class DiscoveryDefaults(_Options):
    """What the tags don't say."""

    target: FoundTargetOptions = FoundTargetOptions()
    """Of every endpoint."""
    model: dict[str, JsonValue] | None = None
    """Fields of the models that the catalogue does not write, without `name` and `targets`; the
    digest may come from the tag `simcloud:digest`. None: their endpoints are told, and left."""

    @field_validator("model")
    @classmethod
    def _names_and_targets_come_from_aws(
        cls, value: dict[str, JsonValue] | None
    ) -> dict[str, JsonValue] | None:
        for field in ("name", "targets", "labels_file"):
            if value is not None and field in value:
                raise ValueError(f"{field} can't be the same for all models; remove it")
        return value


class DiscoveryOptions(_Options):
    """Endpoints of one region of the router's account that become targets by their tags.

    `simcloud:model` names the model; `simcloud:codec`, `simcloud:weight`, `simcloud:tier` and
    `simcloud:digest` may be there. The role needs tag:GetResources and sagemaker:ListEndpoints.
    """

    tags: dict[
        Annotated[str, Field(min_length=1, max_length=128)], Annotated[str, Field(max_length=256)]
    ] = Field(default={}, max_length=49)
    """Tags that an endpoint must have beside `simcloud:model`, all of them."""
    every_s: float = Field(default=60.0, gt=0, le=86_400)
    """Time between two looks, seconds, give or take a tenth. A look is one request a hundred
    tagged endpoints and one a hundred endpoints of the account."""
    region: str = Field(default="", pattern=r"^[a-z0-9-]*$")
    """Region that is looked at; the service's own by default."""
    drain_s: float = Field(default=300.0, ge=0, le=86_400)
    """Time for which an endpoint that is gone, or whose tag is, stays as a target that gets nothing
    new, seconds."""
    defaults: DiscoveryDefaults = DiscoveryDefaults()
    """What the tags don't say."""

    @field_validator("tags")
    @classmethod
    def _model_is_asked_for_anyway(cls, value: dict[str, str]) -> dict[str, str]:
        if MODEL_TAG in value:
            raise ValueError(f"{MODEL_TAG} is asked for anyway; remove it")
        return value
