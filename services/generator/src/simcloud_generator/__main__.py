"""`python -m simcloud_generator`."""

from __future__ import annotations

import sys

from simcloud.rpc.main import run
from simcloud_generator.serving import serve_generator
from simcloud_generator.settings import GeneratorSettings

if __name__ == "__main__":
    sys.exit(run(serve_generator, settings=GeneratorSettings, name="generator"))
