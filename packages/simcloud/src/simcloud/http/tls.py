"""Whose certificates are trusted, alike on every Python and beside every other client of ours."""

from __future__ import annotations

import ssl


def client_tls(cafile: str | None = None) -> ssl.SSLContext:
    """A context that checks chain and name; reads authorities from disk, which takes 20 ms.

    Args:
        cafile: authorities; None: the system's.

    Raises:
        OSError: the file is not there, or holds no certificates.
    """
    context = ssl.create_default_context(cafile=cafile)
    # Python 3.13 began to set both by itself ("What's new in Python 3.13", ssl). The strict one
    # refuses authorities without extensions that RFC 5280 asks for, as those of many companies are,
    # the other trusts what is signed by an intermediate alone. The SDK's own context and gRPC have
    # neither: whether a server is trusted must not hang on the Python, nor on which of the clients
    # in one process carries a request.
    context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
    return context
