"""``python -m simcloud_uploader``: settings, then serve."""

from __future__ import annotations

import sys

from simcloud.rpc.main import run
from simcloud_uploader.serving import serve_uploader
from simcloud_uploader.settings import UploaderSettings

if __name__ == "__main__":
    sys.exit(run(serve_uploader, settings=UploaderSettings, name="uploader"))
