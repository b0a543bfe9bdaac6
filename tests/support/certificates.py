"""Certificates made on the spot by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_certificates(folder: Path) -> Path:
    """An authority, a server of `localhost` and a client `spiffe://prod/trainer`, signed by it.

    Returns:
        The folder, with `<name>.pem` and `<name>.key` of ca, server, client and plain (a client
        without alternative names).
    """
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(
        *("req", "-x509", *key, "-days", "2", "-subj", "/CN=test authority"),
        *("-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem"),
    )
    for name, alternative in (
        ("server", "DNS:localhost"),
        ("client", "URI:spiffe://prod/trainer"),
        ("plain", ""),
    ):
        request = f"{folder}/{name}.csr"
        _openssl(
            *("req", "-new", *key, "-subj", f"/CN={name} name"),
            *("-keyout", f"{folder}/{name}.key", "-out", request),
        )
        extensions = folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={alternative}\n" if alternative else "")
        _openssl(
            *("x509", "-req", "-in", request, "-days", "2", "-CAcreateserial"),
            *("-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key"),
            *("-extfile", str(extensions), "-out", f"{folder}/{name}.pem"),
        )
    return folder


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
