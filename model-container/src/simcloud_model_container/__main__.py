"""`python -m simcloud_model_container [serve]`: settings, then the server."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import uvloop

from simcloud_model_container.errors import RefusedStart
from simcloud_model_container.server import serve
from simcloud_model_container.settings import PREFIX, Settings, read_settings
from simcloud_model_container.telemetry import configure_logging


def main() -> int:
    """Run the server; 0 after a drained stop, 1 when it can't start."""
    arguments = _parser().parse_args()
    try:
        settings = _with_arguments(read_settings(os.environ), arguments)
        configure_logging(settings.log_level)
        uvloop.run(serve(settings))
    except RefusedStart as error:
        sys.stderr.write(f"simcloud-model-container: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="simcloud_model_container",
        description="Serves models by SageMaker's container contract.",
        epilog=f"Every setting is an environment variable {PREFIX}NAME; options win over it.",
    )
    # SageMaker starts a container as `docker run IMAGE serve`.
    parser.add_argument("command", nargs="?", choices=["serve"], default="serve")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=_port, help="port to listen on; 0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="written with the port once it listens")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        message = f"expected 0 to 65535, found {text}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _with_arguments(settings: Settings, arguments: argparse.Namespace) -> Settings:
    given = {
        name: getattr(arguments, name)
        for name in ("host", "port", "port_file")
        if getattr(arguments, name) is not None
    }
    return replace(settings, **given)


if __name__ == "__main__":
    sys.exit(main())
