"""TLS of a server: its context, and what it says of a peer."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from simcloud.errors import InvalidRequest
from simcloud.rpc.credentials import read_pem, server_files
from simcloud.rpc.settings import TlsSettings

_ALPN: Final = "h2"
_PLAIN: Final[Mapping[str, list[bytes]]] = {}


def server_context(tls: TlsSettings) -> ssl.SSLContext:
    """Context of a server; clients must have a certificate when ``client_ca`` is set.

    Raises:
        InvalidRequest: a file can't be read, or is no certificate or key.
    """
    cert, key = server_files(tls)
    # Named one by one: OpenSSL's errors don't say which file.
    read_pem("tls.key", key)
    read_pem("tls.cert", cert)
    if tls.client_ca is not None:
        read_pem("tls.client_ca", tls.client_ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # RFC 9113, section 9.2: at least 1.2, without compression and renegotiation.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([_ALPN])
    try:
        context.load_cert_chain(cert, key)
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except ssl.SSLError as error:
        raise InvalidRequest(
            "tls", f"the certificates of {cert} and {key} can't be used: {error}"
        ) from error
    return context


def identify(transport: asyncio.Transport) -> tuple[str, Mapping[str, list[bytes]]]:
    """Where a peer is, as gRPC writes it, and what TLS says of it, under gRPC's names."""
    secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    return _peer(transport), _PLAIN if secured is None else _properties(secured)


def speaks_http2(transport: asyncio.Transport) -> bool:
    """Whether a peer has agreed to HTTP/2 (RFC 9113, section 3.2); in plain text all have."""
    secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    return secured is None or secured.selected_alpn_protocol() == _ALPN


def _peer(transport: asyncio.Transport) -> str:
    sock: socket.socket | None = transport.get_extra_info("socket")
    name: Any = transport.get_extra_info("peername")
    if (sock is not None and sock.family == socket.AF_UNIX) or not name or isinstance(name, str):
        return "unix:"
    host, port = name[0], name[1]
    if ":" not in host:
        return f"ipv4:{host}:{port}"
    mapped = host.removeprefix("::ffff:")
    if "." in mapped:
        return f"ipv4:{mapped}:{port}"
    return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}"


def _properties(secured: ssl.SSLObject) -> Mapping[str, list[bytes]]:
    properties: dict[str, list[bytes]] = {"transport_security_type": [b"ssl"]}
    certificate: Any = secured.getpeercert()
    if not certificate:
        return properties
    names = [
        value.encode()
        for kind, value in certificate.get("subjectAltName", ())
        if kind in {"DNS", "URI", "email", "IP Address"}
    ]
    common = [
        value.encode()
        for part in certificate.get("subject", ())
        for key, value in part
        if key == "commonName"
    ]
    if names:
        properties["x509_subject_alternative_name"] = names
    if common:
        properties["x509_common_name"] = common[:1]
    return properties
