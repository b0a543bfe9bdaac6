"""`simcloud context`: where things are."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from simcloud_cli.commands.common import JsonOption

app = typer.Typer(help="Named sets of endpoints, bucket and credentials.", no_args_is_help=True)


@app.command("list")
def list_contexts(json: JsonOption = False) -> None:
    """All contexts; the one in force is marked."""
    from simcloud_cli.context import current_name, load_config
    from simcloud_cli.output import print_json, print_table
    from simcloud_cli.state import options

    config = load_config()
    current = current_name(config, options.context)
    rows = [
        (
            name,
            name == current,
            "embedded" if item.embedded else item.generator or "-",
            f"s3://{item.bucket}/{item.prefix}",
        )
        for name, item in sorted(config.all().items())
    ]
    if json:
        names = ("name", "current", "generator", "data")
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    print_table(
        "",
        ["", "context", "generator", "data"],
        [("*" if current else "", name, where, data) for name, current, where, data in rows],
    )


@app.command("show")
def show(
    name: Annotated[str | None, typer.Argument(help="Context; by default that in force.")] = None,
    json: JsonOption = False,
) -> None:
    """A context's fields; secrets are not shown."""
    import yaml

    from simcloud_cli.context import current_name, load_config, shown
    from simcloud_cli.output import print_json
    from simcloud_cli.state import options

    config = load_config()
    chosen = name or current_name(config, options.context)
    fields = shown(config.named(chosen))
    if json:
        print_json({"name": chosen, **fields})
        return
    sys.stdout.write(yaml.safe_dump({chosen: fields}, sort_keys=False))


@app.command("use")
def use(
    name: Annotated[str, typer.Argument(help="Context to be in force from now on.")],
    json: JsonOption = False,
) -> None:
    """Makes a context the one in force."""
    from simcloud_cli.context import load_config, save_config
    from simcloud_cli.output import console, print_json

    config = load_config()
    config.named(name)
    path = save_config(config.model_copy(update={"current": name}))
    if json:
        print_json({"current": name, "file": str(path)})
        return
    console().print(f"context {name} is in force ({path})", markup=False)


@app.command("set")
def set_fields(
    name: Annotated[str, typer.Argument(help="Context; made when there is none.")],
    assignments: Annotated[
        list[str],
        typer.Argument(metavar="FIELD=VALUE...", help="e.g. s3.endpoint_url=http://localhost:8333"),
    ],
    json: JsonOption = False,
) -> None:
    """Sets fields of a context, nested ones with dots."""
    from simcloud_cli.context import load_config, save_config, shown, with_assignments
    from simcloud_cli.output import console, print_json

    config = with_assignments(load_config(), name, assignments)
    path = save_config(config)
    if json:
        print_json({"name": name, "file": str(path), **shown(config.named(name))})
        return
    console().print(f"context {name} is set ({path})", markup=False)


@app.command("env")
def env(json: JsonOption = False) -> None:
    """S3 credentials of the running stack for other tools: eval "$(simcloud context env)"."""
    from simcloud.errors import NotReady
    from simcloud_cli.output import print_json
    from simcloud_cli.session import current_context, state_dir

    name, context = current_context()
    info = state_dir(context).running() if context.embedded else None
    if info is None:
        raise NotReady(
            f"context {name} has no running embedded stack: start it with `simcloud up`; other "
            "contexts use AWS's own credentials"
        )
    variables = {
        "AWS_ACCESS_KEY_ID": info.access_key,
        "AWS_SECRET_ACCESS_KEY": info.secret_key,
        "AWS_ENDPOINT_URL": info.s3_endpoint,
        "AWS_REGION": context.s3.region,
    }
    if json:
        print_json(variables)
        return
    for key, value in variables.items():
        sys.stdout.write(f"export {key}={shlex.quote(value)}\n")
