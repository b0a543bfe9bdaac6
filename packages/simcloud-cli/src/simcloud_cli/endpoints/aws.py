"""What is asked of AWS: a request as data, and the one place that sends it.

A request is a value, so that `--plan` prints just what a run without it sends, and so that an
answer of "you may not" can name the action and the resource. boto3 is imported when the first
client is made: no other command pays for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from simcloud import __version__
from simcloud.errors import InvalidRequest, NotFound, PreconditionFailed
from simcloud_cli.endpoints.refusals import translating

if TYPE_CHECKING:
    from botocore.client import BaseClient

    from simcloud.s3.client import S3Settings

_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 60
_ATTEMPTS = 5
_MAX_PAGES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsPlace:
    """Which account and region, as the options say; what is empty is left to AWS's own rules.

    Those are: ``AWS_PROFILE``, ``AWS_REGION``, ``~/.aws/config``, the role of the machine.
    """

    region: str = ""
    profile: str = ""
    endpoint_url: str = ""
    """Address of every service, in place of AWS's: of a stand-in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of one AWS service."""

    service: str
    """boto3's name: ``sagemaker``, ``application-autoscaling``, ``scheduler``."""
    operation: str
    """As the service's model spells it: ``CreateModel``."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    resource: str = "*"
    """What a policy would name: ``endpoint/detector``, without the ARN's beginning; ``*``: the
    action knows no resource. A whole ARN stays as it is."""


class Aws:
    """The services of one account and region. Calls run in threads: boto3 knows no event loop.

    Raises:
        PreconditionFailed: boto3 is not installed.
    """

    def __init__(self, place: AwsPlace) -> None:
        self._place = place
        self._clients: dict[str, BaseClient] = {}

    @property
    def region(self) -> str:
        """The region in force, by the options or by AWS's own rules.

        Raises:
            InvalidRequest: none is set anywhere.
        """
        return self.client("sagemaker").meta.region_name

    def client(self, service: str) -> BaseClient:
        """boto3's client of a service, one a process.

        Raises:
            InvalidRequest: there is no region, or no such profile.
        """
        if service not in self._clients:
            with translating(Request(service=service, operation=""), region=self._place.region):
                self._clients[service] = make_client(service, self._place)
        return self._clients[service]

    async def ask(self, request: Request) -> dict[str, Any]:
        """Sends a request; the answer as boto3 gives it.

        Repeated by boto3 when throttled or when no answer came, at most five times in all.

        Raises:
            SimcloudError: as ``simcloud_cli.endpoints.refusals`` says.
        """
        return await asyncio.to_thread(self._send, request)

    async def find(self, request: Request) -> dict[str, Any] | None:
        """As ``ask``; None when what is asked for does not exist."""
        try:
            return await self.ask(request)
        except NotFound:
            return None

    async def rows(self, request: Request, key: str) -> list[dict[str, Any]]:
        """All rows of a list that comes in pages.

        Args:
            request: of an operation that takes and answers ``NextToken``.
            key: where a page's rows are in its answer.

        Raises:
            PreconditionFailed: there are more than a hundred pages: part of a list would pass for
                all of it.
            SimcloudError: as ``ask``.
        """
        found: list[dict[str, Any]] = []
        parameters = dict(request.parameters)
        for _ in range(_MAX_PAGES):
            page = await self.ask(
                Request(
                    service=request.service,
                    operation=request.operation,
                    parameters=parameters,
                    resource=request.resource,
                )
            )
            found += page.get(key, [])
            if not page.get("NextToken"):
                return found
            parameters["NextToken"] = page["NextToken"]
        raise PreconditionFailed(
            f"{request.service} {request.operation} of {request.resource} has more than "
            f"{_MAX_PAGES} pages ({len(found)} rows so far): what is of no use any more has to be "
            "deleted there first"
        )

    def check(self, request: Request) -> None:
        """Returns when the request has the shape that the service's model asks for; sends nothing.

        Raises:
            InvalidRequest: it has not; every wrong field is named.
        """
        from botocore.validate import validate_parameters

        shape = (
            self.client(request.service)
            .meta.service_model.operation_model(request.operation)
            .input_shape
        )
        if shape is not None:
            with translating(request, region=self._place.region):
                validate_parameters(dict(request.parameters), shape)

    def _send(self, request: Request) -> dict[str, Any]:
        from botocore import xform_name

        client = self.client(request.service)
        # As botocore's own paginators and waiters call an operation that they know by name.
        method = getattr(client, xform_name(request.operation))
        with translating(request, region=client.meta.region_name):
            return cast("dict[str, Any]", method(**request.parameters))


def s3_settings(place: AwsPlace) -> S3Settings:
    """How S3 of an account is reached by the same credentials as its other services.

    Raises:
        InvalidRequest: there is no region, or no such profile.
        PreconditionFailed: boto3 is not installed.
    """
    from pydantic import SecretStr

    from simcloud.s3.client import S3Settings

    with translating(Request(service="s3", operation=""), region=place.region):
        session = _session(place)
        credentials = session.get_credentials()
        frozen = credentials.get_frozen_credentials() if credentials is not None else None
    region = session.region_name
    if not region:
        raise InvalidRequest("--region", "no AWS region is set: give --region, or set AWS_REGION")
    settings = S3Settings(
        region=region, endpoint_url=place.endpoint_url, path_style=bool(place.endpoint_url)
    )
    if frozen is None:
        return settings
    return settings.model_copy(
        update={
            "access_key_id": frozen.access_key,
            "secret_access_key": SecretStr(frozen.secret_key),
            "session_token": SecretStr(frozen.token or ""),
        }
    )


def make_client(service: str, place: AwsPlace) -> BaseClient:
    """A client of boto3's; its errors are botocore's.

    Raises:
        PreconditionFailed: boto3 is not installed.
    """
    session = _session(place)
    from botocore.config import Config

    return cast(
        "BaseClient",
        session.client(
            service,
            endpoint_url=place.endpoint_url or None,
            config=Config(
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=_READ_TIMEOUT_S,
                # total_max_attempts counts the first try; max_attempts would not.
                retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                user_agent_extra=f"simcloud/{__version__}",
            ),
        ),
    )


def _session(place: AwsPlace) -> Any:
    try:
        import boto3
    except ImportError as error:
        raise PreconditionFailed(
            "`simcloud endpoint` asks AWS through boto3, which is not installed here: "
            "pip install 'simcloud-cli[aws]'"
        ) from error
    return boto3.session.Session(
        region_name=place.region or None, profile_name=place.profile or None
    )
