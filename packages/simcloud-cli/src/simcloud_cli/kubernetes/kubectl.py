"""kubectl as the client of a cluster.

Not a library of ours: kubectl is what reaches people's clusters already, with the contexts, proxies
and credential plug-ins (EKS, GKE, OIDC) of their kubeconfig, and it brings kustomize, which renders
the manifests. So a cluster that `kubectl get pods` reaches is one that we reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any

from simcloud.errors import (
    AlreadyExists,
    NotFound,
    NotReady,
    PermissionDenied,
    PreconditionFailed,
    SimcloudError,
    Unauthenticated,
)

Manifest = dict[str, Any]
"""One object of the cluster, as its API says it."""

_REQUEST_TIMEOUT_S = 20
_ENDED_WITHIN_S = 120.0
"""For a credential plug-in that asks for a log-in, too."""

_UNREACHABLE = (
    "unable to connect to the server",
    "was refused",
    "couldn't get current server api group list",
    "i/o timeout",
    "no such host",
    "context deadline exceeded",
    "client.timeout exceeded",
    "tls handshake timeout",
    "connection reset",
    "serviceunavailable",
    "etcdserver:",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command of kubectl ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """Commands of kubectl.

    Each is a process of its own, ended with us when we are cancelled.
    """

    context: str | None = None
    """Of the kubeconfig; None: its current one."""

    async def answer(self, *arguments: str, stdin: str | None = None) -> Answer:
        """Runs a command; whatever it says is its answer.

        Raises:
            PreconditionFailed: kubectl is not installed.
            NotReady: it didn't end in time.
        """
        chosen = () if self.context is None else (f"--context={self.context}",)
        try:
            # Of its own session, so that Ctrl-C on the terminal reaches us alone.
            process = await asyncio.create_subprocess_exec(
                "kubectl",
                *arguments,
                *chosen,
                stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise PreconditionFailed(
                "kubectl is not on the PATH: install it (https://kubernetes.io/docs/tasks/tools/), "
                "version 1.27 or newer"
            ) from error
        try:
            async with asyncio.timeout(_ENDED_WITHIN_S):
                out, err = await process.communicate(None if stdin is None else stdin.encode())
        except TimeoutError:
            raise NotReady(
                f"`kubectl {arguments[0]}` gave no answer within {_ENDED_WITHIN_S:.0f} s: try "
                "`kubectl cluster-info`"
            ) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return Answer(process.returncode or 0, out.decode(), err.decode(errors="replace"))

    async def text(self, *arguments: str, stdin: str | None = None) -> str:
        """What a command prints.

        Raises:
            SimcloudError: of the family that says who must act; kubectl's own line is in it.
        """
        answer = await self.answer(*arguments, stdin=stdin)
        if answer.status != 0:
            raise refusal(answer.err or answer.out)
        return answer.out

    async def ask(self, *arguments: str) -> Manifest:
        """What the cluster answers, JSON; as ``text``, with a time limit for the API server."""
        text = await self.text(*arguments, f"--request-timeout={_REQUEST_TIMEOUT_S}s")
        content = json.loads(text)
        assert isinstance(content, dict)
        return content

    async def find(self, *arguments: str) -> Manifest | None:
        """As ``ask``; None when there is no such thing."""
        try:
            return await self.ask(*arguments)
        except NotFound:
            return None


def refusal(said: str) -> SimcloudError:
    """The error that kubectl's words mean."""
    line = one_line(said)
    lower = line.lower()
    if any(words in lower for words in _UNREACHABLE):
        return NotReady(f"the cluster can't be reached: {line}; try `kubectl cluster-info`")
    if "context" in lower and "does not exist" in lower:
        return NotFound(f"{line}: `kubectl config get-contexts` lists those there are")
    if "forbidden" in lower:
        return PermissionDenied(
            f"{line}; `simcloud doctor --on kubernetes` lists the rights that are needed"
        )
    if "logged in to the server" in lower or "unauthorized" in lower:
        return Unauthenticated(f"the cluster doesn't know you: {line}; log in to it again")
    if "notfound" in lower or "not found" in lower:
        return NotFound(line)
    if "alreadyexists" in lower or "conflict" in lower:
        return AlreadyExists(line)
    return PreconditionFailed(line)


def one_line(said: str) -> str:
    """The words without kubectl's log prefixes and repetitions."""
    lines = []
    for raw in said.splitlines():
        # klog's own lines: "E1121 20:00:00.0 1 memcache.go:265] ..."
        line = raw.strip().removeprefix("error: ").removeprefix("Error from server ")
        if line and not (raw[:1] in "EWI" and raw[1:5].isdigit()) and line not in lines:
            lines.append(line)
    return "; ".join(lines) or "kubectl failed and said nothing"
