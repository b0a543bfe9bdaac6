"""Settings of a process: defaults, environment, command line, in this order, into a frozen model.

Every field of the model is a variable (``SIMCLOUD_UPLOADER_DRAIN_S``) and a flag (``--drain-s``);
fields of a nested model are joined by two underscores (``SIMCLOUD_UPLOADER_TLS__CERT``) and by a
dash (``--tls-cert``). Lists are comma-separated or JSON, mappings are JSON.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import json
import os
import re
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from simcloud.errors import InvalidRequest

M = TypeVar("M", bound=BaseModel)

# Variables that Kubernetes puts beside ours for a Service called like the process ("service links",
# kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_SERVICE_LINK = re.compile(r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_\w+)?)")


class SettingsError(InvalidRequest):
    """A setting is missing, unknown or wrong; the message names its variable and its flag."""

    reason = "INVALID_SETTINGS"


@dataclass(frozen=True, slots=True)
class Setting:
    """One settable value of a model.

    ``path`` is its place in the model, ``env`` its variable, ``flag`` its flag, ``default`` and
    ``kind`` are as documentation shows them.
    """

    path: tuple[str, ...]
    env: str
    flag: str
    kind: str
    default: str
    doc: str
    is_list: bool
    is_json: bool
    is_bool: bool


def settings_of(model: type[BaseModel], *, env_prefix: str) -> tuple[Setting, ...]:
    """Every settable value of ``model``, in the order of its fields.

    Args:
        model: a frozen pydantic model, each field with a docstring below it.
        env_prefix: beginning of the variables, for example ``SIMCLOUD_UPLOADER_``.
    """
    return tuple(_walk(model, env_prefix, ()))


def load_settings(
    model: type[M],
    env_prefix: str,
    *,
    argv: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    prog: str | None = None,
) -> M:
    """Reads settings: flags win over variables, variables over defaults.

    Args:
        model: a frozen pydantic model.
        env_prefix: beginning of the variables, for example ``SIMCLOUD_UPLOADER_``.
        argv: command line without the program's name; ``--help`` prints every setting and exits.
        environ: the environment; by default that of the process.
        prog: the program's name in ``--help``.

    Raises:
        SettingsError: a value is wrong, or a variable with the prefix is not a setting.
        SystemExit: ``--help`` was asked for (0), or a flag is unknown (2).
    """
    settings = settings_of(model, env_prefix=env_prefix)
    environment = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    given: dict[tuple[str, ...], str] = {}
    for setting in settings:
        if setting.env in environment:
            _put(values, setting, environment[setting.env], setting.env)
            given[setting.path] = setting.env
    _refuse_unknown(settings, environment, env_prefix)
    arguments = vars(_parser(model, settings, prog).parse_args(list(argv)))
    for setting in settings:
        text = arguments[".".join(setting.path)]
        if text is not None:
            _put(values, setting, text, setting.flag)
            given[setting.path] = setting.flag
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _settings_error(error, settings, given) from error


def settings_reference(model: type[BaseModel], *, env_prefix: str) -> str:
    """Markdown table of every setting: variable, flag, type, default, meaning."""
    lines = [
        "| variable | flag | type | default | meaning |",
        "|---|---|---|---|---|",
    ]
    for setting in settings_of(model, env_prefix=env_prefix):
        cells = (
            f"`{setting.env}`",
            f"`{setting.flag}`",
            f"`{setting.kind}`",
            f"`{setting.default}`" if setting.default else "",
            setting.doc,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _walk(model: type[BaseModel], env_prefix: str, path: tuple[str, ...]) -> Iterator[Setting]:
    docs = field_docs(model)
    for name, field in model.model_fields.items():
        nested = _nested_model(field)
        here = (*path, name)
        if nested is not None:
            yield from _walk(nested, env_prefix, here)
            continue
        yield Setting(
            path=here,
            env=env_prefix + "__".join(here).upper(),
            flag="--" + "-".join(here).replace("_", "-"),
            kind=_kind(field.annotation),
            default=_default(field),
            doc=docs.get(name, ""),
            is_list=_origin(field.annotation) in {tuple, list, set, frozenset},
            is_json=_origin(field.annotation) in {dict, Mapping},
            is_bool=_bare(field.annotation) is bool,
        )


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The string under each field of ``model`` and of its bases, on one line each."""
    docs: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base is BaseModel:
            continue
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):
            continue
        body = ast.parse(source).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                docs[field.target.id] = " ".join(text.value.value.split())
    for name, info in model.model_fields.items():
        if info.description:
            docs[name] = info.description
    return docs


def _bare(annotation: Any) -> Any:
    """The annotation without `| None`."""
    if get_origin(annotation) in {Union, types.UnionType}:
        members = [member for member in get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return members[0]
    return annotation


def _origin(annotation: Any) -> Any:
    bare = _bare(annotation)
    return get_origin(bare) or bare


def _nested_model(field: FieldInfo) -> type[BaseModel] | None:
    bare = _bare(field.annotation)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return bare
    return None


def _kind(annotation: Any) -> str:
    bare = _bare(annotation)
    if isinstance(bare, type) and get_origin(bare) is None:
        return bare.__name__.lower()
    return re.sub(r"\b(\w+\.)+", "", str(bare)).replace("'", "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, tuple | list | frozenset | set):
        return ",".join(str(item) for item in value)
    return str(value)


def _put(values: dict[str, Any], setting: Setting, text: str, source: str) -> None:
    place = values
    for name in setting.path[:-1]:
        place = place.setdefault(name, {})
    place[setting.path[-1]] = _parse(setting, text, source)


def _parse(setting: Setting, text: str, source: str) -> Any:
    if setting.is_json or (setting.is_list and text.lstrip().startswith("[")):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise SettingsError(source, f"is not JSON ({error}); found {text!r}") from error
    if setting.is_list:
        return [item.strip() for item in text.split(",") if item.strip()]
    return text


def _refuse_unknown(
    settings: Sequence[Setting], environment: Mapping[str, str], env_prefix: str
) -> None:
    known = {setting.env for setting in settings}
    for name in sorted(environment):
        if not name.startswith(env_prefix) or name in known:
            continue
        if _SERVICE_LINK.fullmatch(name.removeprefix(env_prefix)):
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise SettingsError(name, f"is not a setting; {hint}--help lists them all")


def _parser(
    model: type[BaseModel], settings: Sequence[Setting], prog: str | None
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=inspect.getdoc(model),
        epilog="Flags win over variables, variables over defaults.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for setting in settings:
        default = f" Default: {setting.default}." if setting.default else ""
        text = f"{setting.doc}{default} [{setting.env}]".strip()
        parser.add_argument(
            setting.flag,
            dest=".".join(setting.path),
            metavar=setting.kind.upper() if len(setting.kind) < 12 else "VALUE",
            help=text.replace("%", "%%"),
            # `--reuse-port` alone means yes; `--reuse-port=false` turns a variable's yes off.
            nargs="?" if setting.is_bool else None,
            const="true" if setting.is_bool else None,
        )
    return parser


def _settings_error(
    error: ValidationError,
    settings: Sequence[Setting],
    given: Mapping[tuple[str, ...], str],
) -> SettingsError:
    by_path = {setting.path: setting for setting in settings}
    problems: list[tuple[str, str]] = []
    for detail in error.errors(include_url=False):
        path = tuple(str(part) for part in detail["loc"])
        while path and path not in by_path:
            path = path[:-1]
        setting = by_path.get(path)
        if setting is None:
            where = ".".join(str(part) for part in detail["loc"]) or "settings"
        else:
            where = given.get(path) or f"{setting.env} ({setting.flag})"
        found = (
            "" if detail["type"] == "missing" or setting is None else f", found {detail['input']!r}"
        )
        message = detail["msg"].removeprefix("Value error, ")
        problems.append((where, f"{message}{found}"))
    first, rest = problems[0], problems[1:]
    return SettingsError(first[0], "; ".join([first[1], *(f"{w}: {p}" for w, p in rest)]))
