"""AWS on paper: clients of boto3 whose requests and answers botocore's own models check.

``Stubber`` holds each request against the operation's input shape and each answer against its
output shape. It proves shape; it knows no permission, no quota and no order among services.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.client import BaseClient
from botocore.stub import ANY, Stubber

from simcloud_cli.endpoints.aws import AwsPlace

__all__ = ["ACCOUNT", "ANY", "REGION", "PaperAws", "arn", "paper_aws"]

REGION = "eu-central-1"
ACCOUNT = "123456789012"


def arn(resource: str, *, service: str = "sagemaker") -> str:
    """The ARN of something in the account on paper, for example of ``endpoint/detector``."""
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


class PaperAws:
    """What is asked of AWS in a test: queued requests with their answers, service by service."""

    def __init__(self) -> None:
        self._stubbers: dict[str, Stubber] = {}
        self.places: list[AwsPlace] = []
        """What each client was asked for with."""
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        """Service, operation and parameters of each request, in the order of sending."""

    def answers(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any] | None,
        answer: Mapping[str, Any] | None = None,
    ) -> None:
        """The service's next request has these parameters, ``ANY`` for any value; this answers.

        None: it has any parameters that the service's model takes.
        """
        self._stubber(service).add_response(xform_name(operation), dict(answer or {}), parameters)

    def refuses(
        self,
        service: str,
        operation: str,
        code: str,
        message: str = "",
        *,
        parameters: Mapping[str, Any] | None = None,
        status: int = 400,
    ) -> None:
        """The service's next request is of this operation, and is refused."""
        self._stubber(service).add_client_error(
            xform_name(operation),
            service_error_code=code,
            service_message=message,
            http_status_code=status,
            expected_params=parameters,
        )

    def client(self, service: str, place: AwsPlace) -> BaseClient:
        """Stands where ``simcloud_cli.endpoints.aws.make_client`` does."""
        self.places.append(place)
        self._stubber(service)
        return _client(service)

    def assert_all_asked(self) -> None:
        """Fails when something was queued that nobody asked for."""
        for stubber in self._stubbers.values():
            stubber.assert_no_pending_responses()

    def end(self) -> None:
        """Takes the stubs off the clients, which tests share."""
        for service, stubber in self._stubbers.items():
            stubber.deactivate()
            _client(service).meta.events.unregister(_EVERY_CALL, self._note)

    def _stubber(self, service: str) -> Stubber:
        if service not in self._stubbers:
            client = _client(service)
            client.meta.events.register(_EVERY_CALL, self._note)
            self._stubbers[service] = Stubber(client)
            self._stubbers[service].activate()
        return self._stubbers[service]

    def _note(self, params: dict[str, Any], model: Any, **_: object) -> None:
        service = model.service_model.service_name
        self.sent.append((service, model.name, params))


_EVERY_CALL = "provide-client-params.*.*"


@cache
def _client(service: str) -> BaseClient:
    """One for all tests of a process: SageMaker's takes a good part of a second."""
    session = boto3.session.Session(
        aws_access_key_id="paper", aws_secret_access_key="paper", region_name=REGION
    )
    client: BaseClient = session.client(service)
    return client


@contextmanager
def paper_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[PaperAws]:
    """AWS on paper for the CLI in this process; at the end all that was queued was asked."""
    aws = PaperAws()
    monkeypatch.setattr("simcloud_cli.endpoints.aws.make_client", aws.client)
    try:
        yield aws
        aws.assert_all_asked()
    finally:
        aws.end()
