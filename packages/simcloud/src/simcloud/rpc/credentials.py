"""TLS credentials from files, for both sides of a connection."""

from __future__ import annotations

from pathlib import Path

import grpc

from simcloud.errors import InvalidRequest
from simcloud.rpc.settings import TlsSettings


def server_credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    """Credentials of a server; clients must have a certificate when ``client_ca`` is set.

    Raises:
        InvalidRequest: a file can't be read, or cert and key are not set.
    """
    cert, key = server_files(tls)
    client_ca = _read("tls.client_ca", tls.client_ca)
    return grpc.ssl_server_credentials(
        [(read_pem("tls.key", key), read_pem("tls.cert", cert))],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )


def channel_credentials(tls: TlsSettings) -> grpc.ChannelCredentials:
    """Credentials of a client; with a certificate of its own when ``cert`` is set.

    Raises:
        InvalidRequest: a file can't be read.
    """
    return grpc.ssl_channel_credentials(
        root_certificates=_read("tls.server_ca", tls.server_ca),
        private_key=_read("tls.key", tls.key),
        certificate_chain=_read("tls.cert", tls.cert),
    )


def server_files(tls: TlsSettings) -> tuple[Path, Path]:
    """Certificate and key of a server.

    Raises:
        InvalidRequest: they are not set.
    """
    if tls.cert is None or tls.key is None:
        raise InvalidRequest("tls", "a server needs cert and key")
    return tls.cert, tls.key


def read_pem(field: str, path: Path) -> bytes:
    """Content of a file of certificates or of a key.

    Raises:
        InvalidRequest: it can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(field, f"{path} can't be read: {error.strerror}") from error


def _read(field: str, path: Path | None) -> bytes | None:
    return None if path is None else read_pem(field, path)
