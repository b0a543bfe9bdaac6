"""The HTTP face: /ping, /invocations, /endpoints/{name}/invocations, /metrics."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog
from aiohttp import web
from prometheus_client import generate_latest

from simcloud_model_container.errors import (
    BodyTooLarge,
    InferenceFailed,
    NotReady,
    RequestRefused,
    TimedOut,
    Unavailable,
    UnknownEndpoint,
)
from simcloud_model_container.invocation import Answer, Invocation
from simcloud_model_container.sagemaker import (
    CUSTOM_ATTRIBUTES_HEADER,
    ERROR_TYPE_HEADER,
    VARIANT_HEADER,
    FrontEndError,
    front_end_error,
)
from simcloud_model_container.serving import ServedModel
from simcloud_model_container.settings import Settings, SigningSettings
from simcloud_model_container.sigv4 import SignedRequest, verify_signature
from simcloud_model_container.telemetry import Metrics
from simcloud_model_container.trace_context import trace_of

_log = structlog.get_logger()


class ModelApp:
    """Routes requests to models; not ready until `become_ready`, refusing again from `drain` on."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        # The mutable state.
        self._models: Mapping[str, ServedModel] = {}
        self._refusal = "the models are loading"
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def web_application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=self._settings.limits.max_body_bytes)
        app.router.add_get("/ping", self._ping)
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_post("/invocations", self._invocations)
        app.router.add_post("/endpoints/{name}/invocations", self._endpoint_invocations)
        return app

    def become_ready(self, models: Mapping[str, ServedModel]) -> None:
        """Answer with `models` from now on."""
        self._models = models
        self._refusal = ""

    async def drain(self) -> None:
        """Refuse new requests, then wait until those in flight are answered."""
        self._refusal = "the server is going down"
        await self._idle.wait()

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response(status=503 if self._refusal else 200)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _invocations(self, request: web.Request) -> web.Response:
        try:
            answer = await self._invoke(self._settings.default_model, request, signing=None)
        except RequestRefused as error:
            return _container_error(error)
        return _ok(answer)

    async def _endpoint_invocations(self, request: web.Request) -> web.Response:
        """As SageMaker's runtime front-end would answer for an endpoint of one container."""
        endpoint = request.match_info["name"]
        try:
            model = self._settings.endpoints.get(endpoint)
            if model is None:
                message = f"endpoint {endpoint} is not served"
                raise UnknownEndpoint(message)
            answer = await self._invoke(model, request, signing=self._settings.signing)
        except RequestRefused as error:
            return _front_end_response(front_end_error(error, endpoint=endpoint))
        return _ok(answer, {VARIANT_HEADER: self._settings.variant})

    async def _invoke(
        self, model_name: str, request: web.Request, *, signing: SigningSettings | None
    ) -> Answer:
        began_s = time.perf_counter()
        status = 200
        problem = ""
        self._in_flight += 1
        self._idle.clear()
        try:
            async with asyncio.timeout(self._settings.limits.timeout_s):
                return await self._admitted(model_name, request, signing)
        except RequestRefused as error:
            status, problem = error.status, error.message
            raise
        except TimeoutError as error:
            message = f"no answer within {self._settings.limits.timeout_s} s"
            status, problem = TimedOut.status, message
            raise TimedOut(message) from error
        except Exception as error:
            status, problem = 500, repr(error)
            _log.exception("an invocation failed", model=model_name, **_trace_fields(request))
            message = "the server failed on this request; its log says why"
            raise InferenceFailed(message) from error
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()
            seconds = time.perf_counter() - began_s
            self._metrics.requests.labels(model_name, str(status)).inc()
            self._metrics.request_seconds.labels(model_name).observe(seconds)
            _log.info(
                "invocation",
                model=model_name,
                path=request.path,
                status=status,
                milliseconds=round(seconds * 1000, 2),
                **({"problem": problem} if problem else {}),
                **_trace_fields(request),
            )

    async def _admitted(
        self, model_name: str, request: web.Request, signing: SigningSettings | None
    ) -> Answer:
        if self._refusal:
            raise NotReady(self._refusal)
        model = self._models[model_name]
        with model.admission.slots() as slots:
            # Before the body is read, so that bodies are bounded too.
            slots.take(1)
            body = await self._body(request)
            if signing is not None:
                verify_signature(_signed(request, body), signing, now=datetime.now(UTC))
            invocation = Invocation(
                content_type=request.headers.get("Content-Type", ""),
                accept=request.headers.get("Accept", ""),
                custom_attributes=request.headers.get(CUSTOM_ATTRIBUTES_HEADER, ""),
                body=body,
            )
            return await model.invoke(invocation, slots)

    async def _body(self, request: web.Request) -> bytes:
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            limit = self._settings.limits.max_body_bytes
            message = f"the body is larger than {limit} bytes"
            raise BodyTooLarge(message) from error


def _trace_fields(request: web.Request) -> dict[str, str]:
    """What a log line says of the caller's trace; nothing when there is none."""
    trace = trace_of(request.headers)
    if trace is None:
        return {}
    return {"trace_id": trace.trace_id, "parent_span_id": trace.span_id}


def _signed(request: web.Request, body: bytes) -> SignedRequest:
    path, _, query = request.raw_path.partition("?")
    return SignedRequest(
        method=request.method,
        path=path,
        query=query,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
    )


def _ok(answer: Answer, headers: Mapping[str, str] | None = None) -> web.Response:
    # Not by content_type=, which would not take the parameter of Triton's type.
    return web.Response(
        body=answer.body, headers={"Content-Type": answer.content_type, **(headers or {})}
    )


def _container_error(error: RequestRefused) -> web.Response:
    headers = {"Content-Type": "application/json"}
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    # Triton's shape of errors, which SageMaker clients of tensor models know.
    body = json.dumps({"error": error.message}).encode()
    return web.Response(status=error.status, body=body, headers=headers)


def _front_end_response(error: FrontEndError) -> web.Response:
    headers = {"Content-Type": "application/json", ERROR_TYPE_HEADER: error.code}
    return web.Response(status=error.status, body=error.body(), headers=headers)
