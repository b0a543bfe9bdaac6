"""`simcloud router`: an inference-router that runs, operated."""

from __future__ import annotations

from typing import Annotated

import typer

from simcloud_cli.commands.common import JsonOption

app = typer.Typer(
    help="Operate an inference-router that runs: one replica, which must know you as an admin.",
    no_args_is_help=True,
)

TargetArgument = Annotated[
    str, typer.Argument(metavar="TARGET", help="Name of a target of the router's catalogue.")
]
RouterOption = Annotated[
    str | None,
    typer.Option(
        "--router",
        metavar="HOST:PORT",
        help="The replica, in place of the context's router. Each is told by itself.",
    ),
]


@app.command("targets")
def targets(*, router: RouterOption = None, json: JsonOption = False) -> None:
    """Every target as it is now: its state, what is at it, its limit and its speed."""
    from simcloud_cli.routerflow import show_targets

    show_targets(router, as_json=json)


@app.command("stats")
def stats(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="Name of a model; by default all.")
    ] = "",
    *,
    router: RouterOption = None,
    json: JsonOption = False,
) -> None:
    """What became of the requests of each model since the replica began; anyone may ask."""
    from simcloud_cli.routerflow import show_statistics

    show_statistics(router, model, as_json=json)


@app.command("drain")
def drain(target: TargetArgument, *, router: RouterOption = None, json: JsonOption = False) -> None:
    """Lets nothing new go to a target; what is there ends there.

    Holds until `undrain`, until the catalogue's entry of the target changes, or until the replica
    ends.
    """
    from simcloud_cli.routerflow import change_target

    change_target(router, lambda admin: admin.drain(target), as_json=json)


@app.command("undrain")
def undrain(
    target: TargetArgument, *, router: RouterOption = None, json: JsonOption = False
) -> None:
    """Ends a drain: the target has the weight that it had."""
    from simcloud_cli.routerflow import change_target

    change_target(router, lambda admin: admin.undrain(target), as_json=json)


def _share(value: float) -> float:
    if not 0 <= value < float("inf"):
        raise typer.BadParameter(f"must be 0 or more, found {value:g}")
    return value


# A negative number is not an option that nobody knows.
@app.command("weight", context_settings={"ignore_unknown_options": True})
def weight(
    target: TargetArgument,
    weight: Annotated[
        float,
        typer.Argument(
            metavar="WEIGHT",
            callback=_share,
            help="Share among the model's targets of the same tier, 0 or more.",
        ),
    ],
    *,
    router: RouterOption = None,
    json: JsonOption = False,
) -> None:
    """Sets a target's share of the traffic; 0 lets nothing new go there.

    Holds until the catalogue's entry of the target changes, or until the replica ends.
    """
    from simcloud_cli.routerflow import change_target

    change_target(router, lambda admin: admin.set_weight(target, weight), as_json=json)


@app.command("reload")
def reload(*, router: RouterOption = None, json: JsonOption = False) -> None:
    """Has the catalogue read now; one that is not valid changes nothing and says why."""
    from simcloud_cli.routerflow import reload_catalog

    reload_catalog(router, as_json=json)
