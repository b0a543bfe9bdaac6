"""Operators: who is let in, what they see, what they change; the command line over it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from simcloud.client.router_admin import RouterAdminClient
from simcloud.errors import InvalidRequest, NotFound, NotReady, PermissionDenied
from simcloud.rpc.settings import TlsSettings
from simcloud_cli.context import Config, Context, save_config
from support.certificates import make_certificates
from support.eventually import eventually
from support.router import infer, model, running_router, settings_for, write_catalog
from support.scripted_endpoint import Reply, scripted_endpoint

ANSWER = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
NOWHERE = "http://127.0.0.1:1"


def two_targets(**changes: Any) -> dict[str, object]:
    targets = [{"name": name, "kind": "sagemaker", "endpoint": name} for name in ("a", "b")]
    return model(targets=targets, tensor_codec="json_v2", **changes)


async def test_nobody_operates_a_router_that_names_no_admins(tmp_path: Path) -> None:
    settings = settings_for(write_catalog(tmp_path, two_targets()), NOWHERE)
    async with running_router(settings) as router:
        admin = router.admin
        for call in (
            admin.targets(),
            admin.set_weight("a", 2),
            admin.drain("a"),
            admin.undrain("a"),
            admin.reload_catalog(),
        ):
            with pytest.raises(PermissionDenied, match=r"anonymous .* not on .* list of admins"):
                await call
        assert all(each.weight == 1 for each in router.router.models["det"].door.snapshot())


async def test_admins_are_known_by_their_certificates(tmp_path: Path) -> None:
    keys = make_certificates(tmp_path)

    def tls(name: str, **more: Any) -> TlsSettings:
        return TlsSettings(cert=keys / f"{name}.pem", key=keys / f"{name}.key", **more)

    settings = settings_for(
        write_catalog(tmp_path, two_targets()),
        NOWHERE,
        admins=("spiffe://prod/trainer", "anonymous"),
        tls=tls("server", client_ca=keys / "ca.pem"),
    )
    async with running_router(settings) as router:
        client = {"server_ca": keys / "ca.pem", "server_name": "localhost"}
        async with RouterAdminClient.connect(router.address, tls=tls("client", **client)) as admin:
            assert (await admin.drain("a")).state == "drained"
        async with RouterAdminClient.connect(router.address, tls=tls("plain", **client)) as admin:
            with pytest.raises(PermissionDenied, match="plain name may not operate"):
                await admin.drain("b")


async def test_a_drain_lets_nothing_new_through_and_what_is_there_ends(tmp_path: Path) -> None:
    path = write_catalog(tmp_path, two_targets())
    async with scripted_endpoint() as endpoint:
        endpoint.default = Reply(body=ANSWER)
        settings = settings_for(path, endpoint.url, admins=("anonymous",))
        async with running_router(settings) as router:
            admin = router.admin
            assert (await admin.drain("b")).state == "drained"
            endpoint.hold = asyncio.Event()
            first = asyncio.ensure_future(infer(router))
            await eventually(lambda: endpoint.in_flight == 1)
            target = await admin.drain("a")
            assert (target.state, target.in_flight, target.drained) == ("draining", 1, True)
            with pytest.raises(NotReady, match="is drained"):
                await infer(router)
            endpoint.hold.set()
            await first
            a, b = (await admin.targets()).targets
            assert (a.state, b.state, a.average_s > 0) == ("drained", "drained", True)
            assert (await admin.undrain("b")).state == "ready"
            await infer(router)
            assert endpoint.seen[-1].path == "/endpoints/b/invocations"


async def test_weights_are_set_and_wrong_ones_refused(tmp_path: Path) -> None:
    shadowed = two_targets(shadow={"target": "b", "sample": 0.5, "compare": "tensors"})
    path = write_catalog(tmp_path, shadowed)
    settings = settings_for(path, NOWHERE, admins=("anonymous",))
    async with running_router(settings) as router:
        admin = router.admin
        target = await admin.set_weight("a", 2.5)
        assert (target.weight, target.catalog_weight, target.state) == (2.5, 1, "ready")
        assert (await admin.drain("a")).weight == 2.5
        assert (await admin.undrain("a")).weight == 2.5
        assert (await admin.set_weight("a", 0)).state == "drained"
        for weight in (-1.0, float("inf"), float("nan")):
            with pytest.raises(InvalidRequest, match="must be 0 or more"):
                await admin.set_weight("a", weight)
        with pytest.raises(NotFound, match="there is no target 'x'; there are: a"):
            await admin.drain("x")
        with pytest.raises(NotFound, match="'b' is the shadow of model det"):
            await admin.drain("b")
        with pytest.raises(InvalidRequest, match="target: is empty"):
            await admin.undrain("")
        told = await admin.targets()
        assert [(each.name, each.role) for each in told.targets] == [
            ("a", "ordinary"),
            ("b", "shadow"),
        ]


_COMMANDS = """
import json, sys
from typer.testing import CliRunner
from simcloud_cli.app import app

said = []
for arguments in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, ["router", *arguments])
    error = result.exception if not isinstance(result.exception, SystemExit) else None
    said.append([result.exit_code, result.stdout, str(error or "")])
print(json.dumps(said))
"""


async def test_the_command_line_operates_a_router(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path, two_targets(), discovery={"every_s": 3600})
    settings = settings_for(
        catalog,
        NOWHERE,
        catalog_poll_s=0,
        admins=("anonymous",),
        discovery_endpoint_url=NOWHERE,
    )
    async with running_router(settings) as router:
        config = Config(current="test", contexts={"test": Context(router=router.address)})
        save_config(config, tmp_path / "config.yaml")

        async def simcloud(*commands: list[str]) -> list[tuple[int, str, str]]:
            """Exit codes, what was printed and what was raised, of commands in one process."""
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _COMMANDS, json.dumps(commands)),
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "SIMCLOUD_CONFIG": str(tmp_path / "config.yaml")},
                cwd=tmp_path,
            )
            out, _ = await process.communicate()
            return [(code, text, error) for code, text, error in json.loads(out)]

        digest = router.reloader.status.digest
        write_catalog(tmp_path, two_targets(), model("new"))
        weight, drain, targets, stats, table, wrong, reload = await simcloud(
            ["weight", "a", "3", "--json"],
            ["drain", "b", "--router", router.address],
            ["targets"],
            ["stats", "det", "--json"],
            ["stats"],
            ["undrain", "nope"],
            ["reload", "--json"],
        )
        assert (weight[0], json.loads(weight[1])["weight"]) == (0, 3.0)
        assert (drain[0], "drained" in drain[1]) == (0, True)
        assert targets[0] == 0
        unfound = "discovery: tag:GetResources had no answer"
        for words in ("3 (catalogue 1)", "drained", digest, unfound):
            assert words in targets[1]
        (counts,) = json.loads(stats[1])
        assert (counts["model"], counts["requests"], counts["executions"]) == ("det", 0, 0)
        assert (table[0], "executions" in table[1]) == (0, True)
        assert "there is no target 'nope'; there are: a, b" in wrong[2]
        assert json.loads(reload[1])["added"] == ["new"]
