"""A gRPC server over HTTP/2 (RFC 9113, RFC 7541, gRPC's PROTOCOL-HTTP2.md), for servers of ours.

It hosts the servicers, interceptors, health and reflection that ``grpc.aio.server`` hosts, on the
event loop alone: no thread, no completion queue, one task and one write a call.
"""

from simcloud.rpc.http2.limits import Limits
from simcloud.rpc.http2.server import Http2Server
from simcloud.rpc.http2.tls import server_context

__all__ = ["Http2Server", "Limits", "server_context"]
