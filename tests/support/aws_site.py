"""AWS's tagging API and SageMaker's list of endpoints on loopback, held to botocore's models."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from aiohttp import web
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from support.http_site import http_site

ACCOUNT = "arn:aws:sagemaker:us-east-1:123456789012"


@dataclass(slots=True)
class Endpoint:
    """An endpoint as the account has it."""

    tags: Mapping[str, str] = field(default_factory=dict)
    status: str = "InService"


@dataclass(frozen=True, slots=True)
class AwsError:
    """An answer that is an error."""

    operation: str
    """Which it is the answer of; others are answered as ever."""
    code: str
    message: str = ""
    status: int = 400


class AwsSite:
    """Answers GetResources and ListEndpoints; what breaks a model's rule is refused by its name."""

    def __init__(self) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.page = 100
        """Entries of a page; never more than are asked for."""
        self.failing: AwsError | None = None
        self.asked: list[str] = []
        """Operations, in the order in which they came."""
        self.url = ""

    def tag(self, name: str, model: str = "", *, status: str = "InService", **tags: str) -> None:
        """Puts an endpoint there.

        Args:
            name: its name.
            model: value of its tag ``simcloud:model``; empty: it has none.
            status: SageMaker's.
            tags: more of ours, without the prefix.
        """
        ours = {f"simcloud:{key}": value for key, value in tags.items()}
        self.endpoints[name] = Endpoint(ours | ({"simcloud:model": model} if model else {}), status)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The handler."""
        prefix, _, operation = request.headers["X-Amz-Target"].partition(".")
        self.asked.append(operation)
        parameters = json.loads(await request.read())
        problem = _broken_rule(request, prefix, operation, parameters)
        if problem:
            return _error(AwsError(operation, "ValidationException", problem))
        if self.failing is not None and self.failing.operation == operation:
            return _error(self.failing)
        if operation == "GetResources":
            return _json(self._resources(parameters))
        return _json(self._list(parameters))

    def _resources(self, asked: dict[str, Any]) -> dict[str, object]:
        # ARNs have an endpoint's name in lower case.
        found = [
            {
                "ResourceARN": f"{ACCOUNT}:endpoint/{name.lower()}",
                "Tags": [{"Key": key, "Value": value} for key, value in endpoint.tags.items()],
            }
            for name, endpoint in self.endpoints.items()
            if all(_has(endpoint.tags, each) for each in asked["TagFilters"])
            and "sagemaker:endpoint" in asked["ResourceTypeFilters"]
        ]
        page, token = self._page(found, asked["ResourcesPerPage"], asked.get("PaginationToken", ""))
        return {"ResourceTagMappingList": page, "PaginationToken": token}

    def _list(self, asked: dict[str, Any]) -> dict[str, object]:
        found = [
            {
                "EndpointName": name,
                "EndpointArn": f"{ACCOUNT}:endpoint/{name.lower()}",
                "CreationTime": 1_750_000_000.0,
                "LastModifiedTime": 1_750_000_000.0,
                "EndpointStatus": endpoint.status,
            }
            for name, endpoint in self.endpoints.items()
        ]
        page, token = self._page(found, asked["MaxResults"], asked.get("NextToken", ""))
        return {"Endpoints": page} | ({"NextToken": token} if token else {})

    def _page(self, found: list[Any], largest: int, token: str) -> tuple[list[Any], str]:
        first = int(token or 0)
        end = first + min(self.page, largest)
        return found[first:end], str(end) if end < len(found) else ""


@asynccontextmanager
async def aws_site() -> AsyncIterator[AwsSite]:
    """Listens within the block."""
    site = AwsSite()
    async with http_site(site.answer) as site.url:
        yield site


def _has(tags: Mapping[str, str], wanted: Mapping[str, Any]) -> bool:
    values = wanted.get("Values")
    return wanted["Key"] in tags and (not values or tags[wanted["Key"]] in values)


@lru_cache
def _model(prefix: str) -> ServiceModel:
    service = {"SageMaker": "sagemaker"}.get(prefix, "resourcegroupstaggingapi")
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def _broken_rule(
    request: web.Request, prefix: str, operation: str, parameters: dict[str, Any]
) -> str:
    """What of a request is not as the service's model has it; empty: nothing."""
    model = _model(prefix)
    if model.metadata["targetPrefix"] != prefix:
        return f"no service has the prefix {prefix}"
    media_type = f"application/x-amz-json-{model.metadata['jsonVersion']}"
    if request.headers["Content-Type"] != media_type or request.method != "POST":
        return f"{operation} is a POST of {media_type}"
    scope = rf"Credential=AKID/\d{{8}}/us-east-1/{model.signing_name}/aws4_request"
    if not re.search(scope, request.headers.get("Authorization", "")):
        return f"not signed for {model.signing_name}"
    shape = model.operation_model(operation).input_shape
    assert shape is not None
    report = ParamValidator().validate(parameters, shape)
    return str(report.generate_report()) if report.has_errors() else ""


def _json(content: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(content), content_type="application/x-amz-json-1.1"
    )


def _error(error: AwsError) -> web.Response:
    return _json({"__type": error.code, "message": error.message}, error.status)
