"""An OpenTelemetry collector for tests: real OTLP over gRPC, kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc


class Collector:
    """An OTLP collector over gRPC that keeps what it gets."""

    def __init__(self) -> None:
        self.url = ""
        """Where it listens."""
        self.spans: list[Any] = []
        """Of OTLP's message Span, as they came."""
        self.services: set[str] = set()
        """Who sent them."""

    def export(self, request: Any, context: Any) -> Any:
        """Takes spans."""
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

        for resource in request.resource_spans:
            self.services |= {
                attribute.value.string_value
                for attribute in resource.resource.attributes
                if attribute.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    def add(self, server: grpc.Server) -> None:
        """Serves TraceService."""
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

        handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
            self.export,
            request_deserializer=trace_service_pb2.ExportTraceServiceRequest.FromString,
            response_serializer=trace_service_pb2.ExportTraceServiceResponse.SerializeToString,
        )
        name = "opentelemetry.proto.collector.trace.v1.TraceService"
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {"Export": handler}),)
        )


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector that listens on loopback within the block, in a thread of its own."""
    running = Collector()
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        running.add(server)
        running.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield running
        finally:
            server.stop(None).wait()
