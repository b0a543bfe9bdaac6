"""`simcloud up` and `simcloud doctor`: the embedded stack, and what this machine lacks for it."""

from __future__ import annotations

from typing import Annotated

import typer

from simcloud_cli.commands.common import (
    JsonOption,
    KubeContextOption,
    NamespaceOption,
    OnOption,
    OverlayOption,
    Where,
)


def up(
    *,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Take free ports in place of the fixed ones.")
    ] = False,
    s3_port: Annotated[int, typer.Option(help="Port of S3.")] = 8333,
    model_port: Annotated[int, typer.Option(help="Port of the model container.")] = 8080,
    generator_port: Annotated[int, typer.Option(help="Port of the generator.")] = 50051,
    uploader_port: Annotated[int, typer.Option(help="Port of the uploader.")] = 50052,
    router_port: Annotated[int, typer.Option(help="Port of the inference-router.")] = 50053,
    json: JsonOption = False,
) -> None:
    """Starts the whole stack on this machine and keeps it until Ctrl-C."""
    from simcloud.errors import PreconditionFailed
    from simcloud_cli.embedded import Ports, running_stack
    from simcloud_cli.interrupt import Interrupted, run_async
    from simcloud_cli.output import console
    from simcloud_cli.session import current_context, state_dir
    from simcloud_cli.statedir import StackHeld
    from simcloud_cli.turns import Turn

    name, context = current_context()
    if not context.embedded:
        raise PreconditionFailed(
            f"context {name} names running services; `up` is for an embedded one: "
            "`simcloud --context local up`"
        )
    ports = Ports(
        s3=s3_port,
        model=model_port,
        generator=generator_port,
        uploader=uploader_port,
        router=router_port,
    )
    state = state_dir(context)
    out = console(stderr=True)

    def say(line: str) -> None:
        out.print(f"[dim]{line}[/]")

    turn = Turn(state, say)

    async def serve() -> None:
        while True:
            try:
                async with running_stack(
                    state,
                    bucket=context.bucket,
                    ports=Ports() if ephemeral else ports,
                    say=say,
                    serves=True,
                ) as stack:
                    _show(stack.info, str(state.logs), json=json)
                    raise await stack.first_death()
            except StackHeld as held:
                await turn.wait(held)

    try:
        run_async(serve())
    except Interrupted:
        # Ctrl-C is how this command is meant to end.
        out.print("stopped; the data stays in", str(state.data), markup=False)


def _show(info: object, logs: str, *, json: bool) -> None:
    from dataclasses import asdict

    from simcloud_cli.output import console, print_json, print_table
    from simcloud_cli.statedir import StackInfo

    assert isinstance(info, StackInfo)
    if json:
        print_json({**asdict(info), "logs": logs})
        return
    print_table(
        "",
        ["service", "where"],
        [
            ("S3", f"{info.s3_endpoint}  (bucket {info.bucket})"),
            ("generator", info.generator),
            ("uploader", info.uploader),
            ("inference-router", info.router),
            ("model container", info.model_endpoint),
            ("logs", logs),
        ],
    )
    out = console()
    out.print('S3 with other tools: eval "$(simcloud context env)"', markup=False)
    out.print("Ctrl-C stops everything; the data stays.")


def doctor(
    *,
    on: OnOption = Where.HERE,
    overlay: OverlayOption = None,
    namespace: NamespaceOption = None,
    kube_context: KubeContextOption = None,
    json: JsonOption = False,
) -> None:
    """Looks at what the context in force needs, tries its S3, and says what is missing.

    With `--on kubernetes`: at what a run needs of the cluster.
    """
    from simcloud_cli.doctor import examine, examine_for_kubernetes
    from simcloud_cli.exit_codes import ExitCode
    from simcloud_cli.output import print_json, print_table

    if on is Where.KUBERNETES:
        findings = examine_for_kubernetes(overlay, namespace=namespace, kube_context=kube_context)
    else:
        findings = examine()
    if json:
        print_json([finding.plain() for finding in findings])
    else:
        print_table(
            "",
            ["check", "", "detail"],
            [(f.name, "ok" if f.ok else "NO", f.detail) for f in findings],
        )
    if not all(finding.ok for finding in findings):
        raise typer.Exit(ExitCode.FAILURE)
