"""`score --batch-transform`: which model of SageMaker's, what its predictions are called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from simcloud.dataset.layout import ModelKey
from simcloud.dataset.reader import Dataset
from simcloud.errors import InvalidRequest, PreconditionFailed
from simcloud.scoring.job import TASK, find_model
from simcloud_cli.embedded import Part
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.describe import config_request, endpoint_request
from simcloud_cli.endpoints.packaged import PackagedModel
from simcloud_cli.endpoints.registry import model_data_of
from simcloud_cli.endpoints.transform import TransformJob
from simcloud_cli.endpoints.transform_request import TransformSettings, model_request
from simcloud_cli.endpoints.upload import packaged_at
from simcloud_cli.endpoints.waiting import Patience
from simcloud_cli.flow import Scorer, ScorerOf
from simcloud_cli.session import Session, current_context

_DIGITS = 16
"""Least digits of a digest: as many as name predictions that came through the router."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformChoice:
    """What the options say."""

    settings: TransformSettings
    """``sagemaker_model`` is empty when an endpoint names it."""
    endpoint: str = ""
    """Whose model is used."""
    place: AwsPlace
    wait_minutes: float = 240.0

    def check(self) -> None:
        """Returns when the command may begin.

        Raises:
            InvalidRequest: no model, two of them, or pictures where SageMaker can't read them.
        """
        if bool(self.endpoint) == bool(self.settings.sagemaker_model):
            raise InvalidRequest(
                "--batch-transform", "name the model by --sagemaker-model or by --endpoint"
            )
        name, context = current_context()
        elsewhere = context.s3.endpoint_url and not self.place.endpoint_url
        if context.embedded or elsewhere:
            raise InvalidRequest(
                "--context",
                f"the pictures of context {name} are not in AWS's S3, where SageMaker reads: "
                "`simcloud sync` copies a run to a context whose bucket is",
            )

    def scorer_of(self, session: Session, model: str, say: Callable[[str], None]) -> ScorerOf:
        """Makes the scorer of a run, when the run was found.

        Args:
            session: S3, and the router if there is one.
            model: what its predictions are called: a name, or ``<name>@<digest>``.
            say: told what happens.
        """

        async def scorer(dataset: Dataset) -> Scorer:
            place = self.place
            if not place.region:
                place = replace(place, region=session.context.s3.region)
            aws = Aws(place)
            named = self.settings.sagemaker_model or await model_of_endpoint(aws, self.endpoint)
            found = await aws.ask(model_request(named))
            packaged = await _packaged(aws, found, place)
            name, digest = await called(session, packaged, model, sagemaker_model=named)
            return TransformJob(
                store=session.store,
                dataset=dataset,
                aws=aws,
                model=name,
                model_digest=digest,
                settings=replace(self.settings, sagemaker_model=named),
                patience=Patience(
                    limit_s=self.wait_minutes * 60, poll_s=30.0, sleep=asyncio.sleep, say=say
                ),
            )

        return scorer


async def called(
    session: Session, packaged: PackagedModel | None, model: str, *, sagemaker_model: str
) -> tuple[str, str]:
    """Name and digest of a model's predictions, the same as through the router.

    Args:
        session: its router is asked when nothing else says it.
        packaged: what lies beside the model's archive, if anything does.
        model: what the caller says: a name, or ``<name>@<digest>``.
        sagemaker_model: name in SageMaker, for messages.

    Raises:
        InvalidRequest: the caller says another than the package, a digest is too short, or the
            package answers tensors.
        PreconditionFailed: nothing says the digest.
        NotFound: the router has no such model.
    """
    name, _, digest = model.partition("@")
    if packaged is not None:
        entry = packaged.model
        if entry["task"] != TASK:
            raise InvalidRequest(
                "--sagemaker-model", f"{sagemaker_model} does {entry['task']}; this needs {TASK}"
            )
        if name != packaged.name or not str(entry["digest"]).startswith(digest):
            raise InvalidRequest(
                "--model",
                f"{sagemaker_model} is {packaged.name}@{entry['digest']} by its model.json, not "
                f"{model}",
            )
        return packaged.name, str(entry["digest"])
    if digest:
        ModelKey.parse(model)
        if len(digest) < _DIGITS:
            raise InvalidRequest("--model", f"give {_DIGITS} digits of the digest or more")
        return name, digest
    if Part.ROUTER in session.channels:
        info = await find_model(session.router, name)
        return info.name, info.digest
    raise PreconditionFailed(
        f"what predictions of {sagemaker_model} are called is not known: no model.json of "
        "`simcloud endpoint package` lies beside its archive, and the context names no router: "
        f"give --model {name}@<digest>"
    )


async def _packaged(aws: Aws, found: dict[str, Any], place: AwsPlace) -> PackagedModel | None:
    """What lies beside the archive of a model, by SageMaker's description of it."""
    container = found.get("PrimaryContainer", {})
    package = str(container.get("ModelPackageName", ""))
    uri = str(container.get("ModelDataUrl", "")) or (
        await model_data_of(aws, package) if package else ""
    )
    return await packaged_at(uri, place) if uri else None


async def model_of_endpoint(aws: Aws, endpoint: str) -> str:
    """The one model that an endpoint serves.

    Raises:
        NotFound: there is no such endpoint.
        InvalidRequest: it serves several, or components.
    """
    seen = await aws.ask(endpoint_request(endpoint))
    described = await aws.ask(config_request(str(seen["EndpointConfigName"])))
    models = {row.get("ModelName") for row in described["ProductionVariants"]} - {None}
    if len(models) != 1:
        has = ", ".join(sorted(map(str, models))) or "inference components"
        raise InvalidRequest(
            "--endpoint", f"{endpoint} serves {has}: name one by --sagemaker-model"
        )
    return str(models.pop())
