from __future__ import annotations

import ssl

from botocore.httpsession import create_urllib3_context, get_cert_path

from simcloud.http.tls import client_tls


def test_servers_are_trusted_as_by_the_sdk_on_every_python() -> None:
    sdk = create_urllib3_context()
    for ours in (client_tls(), client_tls(get_cert_path(True))):
        assert ours.verify_flags == sdk.verify_flags
        assert ours.verify_mode is ssl.CERT_REQUIRED
        assert ours.check_hostname
