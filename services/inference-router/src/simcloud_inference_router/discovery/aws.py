"""SageMaker endpoints by their tags, asked of AWS.

Two requests a hundred: the Resource Groups Tagging API filters by tags, which SageMaker's lists
can't, and SageMaker's ListEndpoints says which of them take requests. Not ListTags: it is one
request an endpoint, on an API that throttles early.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, Final, Protocol, TypeAlias

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
)

from simcloud import __version__
from simcloud.errors import (
    NotReady,
    Overloaded,
    PermissionDenied,
    SimcloudError,
    Unauthenticated,
)
from simcloud_inference_router.discovery.endpoints import TaggedEndpoint
from simcloud_inference_router.discovery.options import MODEL_TAG
from simcloud_inference_router.settings import RouterSettings

PAGE: Final = 100
"""The largest page of both operations (botocore's models: ResourcesPerPage, MaxResults)."""
MAX_PAGES: Final = 200
"""More than that is refused: an account may have some hundred endpoints, not 20,000."""
READ_TIMEOUT_S: Final = 10.0
"""Longest silence of AWS, seconds."""

# ThrottledException is the tagging API's own; the others are of all services.
_THROTTLED = frozenset(
    {"ThrottledException", "ThrottlingException", "Throttling", "TooManyRequestsException"}
)
_DENIED = frozenset({"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"})
_NOT_KNOWN = frozenset(
    {
        *("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"),
        *("InvalidSignatureException", "UnrecognizedClientException"),
    }
)


class EndpointSource(Protocol):
    """What knows the endpoints of a region."""

    async def tagged(self, tags: Mapping[str, str]) -> tuple[TaggedEndpoint, ...]:
        """All endpoints with the tag ``simcloud:model`` and these.

        Raises:
            PermissionDenied: the role may not; says what to allow.
            Overloaded: asked too often.
            Unauthenticated: there are no credentials, or they are not taken.
            NotReady: no answer, or none that can be used.
        """


OpenEndpoints: TypeAlias = Callable[[str], AbstractAsyncContextManager[EndpointSource]]
"""Opens the source of a region; empty: the service's own."""


class AwsEndpoints:
    """The endpoints of one region of the account.

    Args:
        tagging: client of the Resource Groups Tagging API.
        sagemaker: client of SageMaker; both without retries of their own.
    """

    # Any: botocore makes their methods while the program runs.
    def __init__(self, *, tagging: Any, sagemaker: Any) -> None:
        self._tagging = tagging
        self._sagemaker = sagemaker

    async def tagged(self, tags: Mapping[str, str]) -> tuple[TaggedEndpoint, ...]:
        """As ``EndpointSource``."""
        filters: list[dict[str, object]] = [{"Key": MODEL_TAG}]
        filters += [{"Key": key, "Values": [value]} for key, value in tags.items()]
        found: dict[str, dict[str, str]] = {}
        with _asked("tag:GetResources"):
            pages = self._tagging.get_paginator("get_resources").paginate(
                TagFilters=filters,
                ResourceTypeFilters=["sagemaker:endpoint"],
                PaginationConfig={"PageSize": PAGE},
            )
            async for page in _bounded(pages):
                for each in page["ResourceTagMappingList"]:
                    # arn:aws:sagemaker:region:account:endpoint/name
                    name = each["ResourceARN"].rpartition("endpoint/")[2]
                    found[name] = {tag["Key"]: tag["Value"] for tag in each["Tags"]}
        if not found:
            return ()
        states = await self._states()
        endpoints = []
        for name, tags_there in found.items():
            there, status = states.get(name.lower(), (name, ""))
            endpoints.append(TaggedEndpoint(name=there, status=status, tags=tags_there))
        return tuple(endpoints)

    async def _states(self) -> dict[str, tuple[str, str]]:
        """Names and statuses of all endpoints, by their names in lower case.

        In ARNs the names are in lower case, whatever they were created with (seen by others:
        prometheus-community/yet-another-cloudwatch-exporter#1178).
        """
        states: dict[str, tuple[str, str]] = {}
        with _asked("sagemaker:ListEndpoints"):
            pages = self._sagemaker.get_paginator("list_endpoints").paginate(
                PaginationConfig={"PageSize": PAGE}
            )
            async for page in _bounded(pages):
                for each in page["Endpoints"]:
                    name = each["EndpointName"]
                    states[name.lower()] = (name, each["EndpointStatus"])
        return states


def aws_endpoints(settings: RouterSettings) -> OpenEndpoints:
    """Sources at AWS, as the settings say: where, and with whose credentials."""

    @asynccontextmanager
    async def source(region: str) -> AsyncIterator[AwsEndpoints]:
        session, keys = get_session(), settings.sagemaker
        shared: dict[str, Any] = {
            "region_name": region or settings.region,
            "endpoint_url": settings.discovery_endpoint_url or None,
            "aws_access_key_id": keys.access_key_id or None,
            "aws_secret_access_key": keys.secret_access_key.get_secret_value() or None,
            "aws_session_token": keys.session_token.get_secret_value() or None,
            "config": AioConfig(
                connect_timeout=settings.connect_timeout_s,
                read_timeout=READ_TIMEOUT_S,
                # The next look is the retry. max_attempts 1 would mean two.
                retries={"total_max_attempts": 1, "mode": "standard"},
                user_agent=f"simcloud/{__version__}",
                # SageMaker's model is 2 MB of JSON: not read in the event loop.
                warm_up_loader_caches=True,
            ),
        }
        async with AsyncExitStack() as clients:
            with _asked("a client of AWS"):
                tagging, sagemaker = [
                    await clients.enter_async_context(session.create_client(service, **shared))
                    for service in ("resourcegroupstaggingapi", "sagemaker")
                ]
            yield AwsEndpoints(tagging=tagging, sagemaker=sagemaker)

    return source


async def _bounded(pages: Any) -> AsyncIterator[dict[str, Any]]:
    number = 0
    async for page in pages:
        number += 1
        if number > MAX_PAGES:
            raise NotReady(
                f"AWS has more than {MAX_PAGES} pages of {PAGE}: narrow discovery.tags down"
            )
        yield page


@contextmanager
def _asked(action: str) -> Iterator[None]:
    """Turns AWS's errors into ours.

    Args:
        action: the IAM action that is asked for.
    """
    try:
        yield
    except SimcloudError:
        raise
    except ClientError as exc:
        raise _as_ours(exc, action) from exc
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as exc:
        raise Unauthenticated(f"looking for endpoints: no AWS credentials: {exc}") from exc
    except (BotoCoreError, aiohttp.ClientError, OSError, KeyError) as exc:
        # KeyError: an answer without what its model requires, from whatever stands for AWS.
        raise NotReady(f"{action} had no answer: {type(exc).__name__}: {exc}") from exc


def _as_ours(error: ClientError, action: str) -> SimcloudError:
    said = error.response.get("Error", {})
    code, message = said.get("Code", ""), said.get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _DENIED:
        return PermissionDenied(
            f"the router's role may not look for endpoints: allow it {action} on resource *, "
            f"since AWS knows no narrower one; AWS said {code}: {message}",
            action=action,
        )
    if code in _THROTTLED or status == 429:
        return Overloaded(f"{action} was throttled: {code}: {message}; less often by every_s")
    if code in _NOT_KNOWN:
        return Unauthenticated(f"{action}: AWS does not take the credentials: {code}: {message}")
    return NotReady(f"{action} failed: HTTP {status}, {code}: {message}")
