"""LiteLLM's proxy, unmodified, in front of the endpoint; run by the Python of its own environment.

    python proxy.py http://127.0.0.1:PORT

Prints one JSON line with its port when it listens. One worker; nothing is logged for each request.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TextIO

import uvicorn  # type: ignore[import-not-found]


def config(endpoint: str) -> object:
    """One model, served by the endpoint ``text`` at that address."""
    params = {
        "model": "sagemaker/text",
        "sagemaker_base_url": f"{endpoint}/endpoints/text/invocations",
        "aws_access_key_id": "AKIDBENCH",
        "aws_secret_access_key": "secret",
        "aws_region_name": "us-east-1",
    }
    return {
        "model_list": [{"model_name": "text", "litellm_params": params}],
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "general_settings": {"disable_spend_logs": True},
    }


async def serve(app: object, told: TextIO) -> None:
    """Listens for ever.

    Args:
        app: the proxy's.
        told: where the port is written.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            app, host="127.0.0.1", port=0, log_level="warning", access_log=False, loop="uvloop"
        )
    )
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        if serving.done():
            serving.result()
            sys.exit("the proxy did not start")
        await asyncio.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    told.write(json.dumps({"port": port}) + "\n")
    told.flush()
    await serving


def main() -> None:
    """Writes the configuration, then serves."""
    # LiteLLM greets on standard output, which is for the port alone.
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        # JSON is YAML.
        path.write_text(json.dumps(config(sys.argv[1])))
        os.environ["CONFIG_FILE_PATH"] = str(path)
        # No prices and no models are fetched from anywhere.
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        # On loopback, and checking a key would only cost it time.
        os.environ["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"
        from litellm.proxy.proxy_server import app  # type: ignore[import-not-found]

        asyncio.run(serve(app, told))


if __name__ == "__main__":
    main()
