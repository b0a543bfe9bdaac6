"""The page of the `simcloud` command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from scripts.reference.markdown import page, prose, table


def command_line_page() -> str:
    from simcloud_cli.app import app

    root: Any = typer.main.get_command(app)
    sections = ["## simcloud\n", _options(root)]
    for path, command in _commands(root, "simcloud"):
        sections += [_command(path, command), _options(command)]
    return page(
        "Command line",
        f"{prose(root.help)} Results go to standard output, progress to standard error; `--json` "
        "prints one document. [Exit codes](exit-codes.md).",
        *sections,
    )


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        here = f"{path} {name}"
        if hasattr(command, "commands"):
            yield from _commands(command, here)
        else:
            yield here, command


def _command(path: str, command: Any) -> str:
    usage = [path]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            name = parameter.metavar or parameter.name.upper()
            usage.append(name if parameter.required else f"[{name}]")
    return f"## {path}\n\n```\n{' '.join(usage)} [OPTIONS]\n```\n\n{prose(command.help)}\n"


def _options(command: Any) -> str:
    rows = []
    for parameter in command.params:
        names = [*parameter.opts, *parameter.secondary_opts]
        if parameter.param_type_name == "argument":
            names = [parameter.metavar or parameter.name.upper()]
        default = parameter.default
        shown = "" if default in (None, "", False) or callable(default) else f"`{default}`"
        if parameter.required:
            shown = "required"
        variable = f" [`{parameter.envvar}`]" if parameter.envvar else ""
        rows.append(
            (", ".join(f"`{name}`" for name in names), shown, (parameter.help or "") + variable)
        )
    return table(("option", "default", "meaning"), rows) if rows else ""
