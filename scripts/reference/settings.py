"""The page of every setting: the services', the model container's and the CLI's."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.reference.markdown import code, page, prose, table
from scripts.reference.schemas import Json, fields_table, json_schema

SERVICES = {
    "generator": ("simcloud_generator", "GeneratorSettings"),
    "uploader": ("simcloud_uploader", "UploaderSettings"),
    "inference-router": ("simcloud_inference_router", "RouterSettings"),
}
_MODEL_CONTAINER = "simcloud_model_container"


def settings_page() -> str:
    from simcloud.settings import settings_reference
    from simcloud_cli.context import Config, Context

    sections = []
    for name, (package, model) in SERVICES.items():
        settings = getattr(importlib.import_module(f"{package}.settings"), model)
        prefix = f"SIMCLOUD_{name.upper().replace('-', '_')}_"
        heading = f"## {name}\n\n`python -m {package}`. {prose(settings.__doc__)}\n"
        sections += [heading, settings_reference(settings, env_prefix=prefix)]
    container = f"## model-container\n\n`python -m {_MODEL_CONTAINER}`: environment variables.\n"
    sections += [container, _container_settings()]
    for title, kind in (("The CLI's settings file", Config), ("A context", Context)):
        schema = json_schema(kind, title)
        sections += [f"## {title}\n\n{prose(kind.__doc__)}\n", fields_table(_flat(schema))]
    return page(
        "Settings",
        "Flags win over environment variables, variables over defaults. Fields of a part are "
        "joined by two underscores in a variable, by a dash in a flag. Lists are comma-separated "
        "or JSON, mappings are JSON. An unknown variable with a service's prefix is refused.",
        *sections,
    )


def _flat(schema: Json) -> Json:
    """The schema with the fields of its parts beside its own, joined by dots."""
    return {"properties": dict(_fields(schema["properties"], schema.get("$defs", {}), ""))}


def _fields(properties: Json, defs: Json, prefix: str) -> Iterator[tuple[str, Json]]:
    for name, body in properties.items():
        refs = re.findall(r'"#/\$defs/(\w+)"', json.dumps(body))
        part: Json = defs[refs[0]] if refs else {}
        if "$ref" in (body.get("additionalProperties") or {}):
            yield (
                prefix + name,
                {"type": "name to a context", "description": body["description"]},
            )
        elif "properties" in part:
            yield from _fields(part["properties"], defs, f"{prefix}{name}.")
        elif "enum" in part:
            described = {key: body[key] for key in ("description", "default") if key in body}
            yield prefix + name, {"enum": part["enum"], **described}
        else:
            yield prefix + name, body


def _container_settings() -> str:
    from simcloud_model_container.settings import PREFIX, Settings, read_settings

    known = _known_variables(read_settings, PREFIX)
    rows = []
    for name, default, text in _dataclass_fields(Settings):
        # Credentials have a prefix of their own; what has no variable can't be set.
        for variable in (name, f"SIGV4_{name}"):
            if variable in known:
                rows.append((f"`{PREFIX}{variable}`", default, text))
    return table(("variable", "default", "meaning"), rows)


def _known_variables(read_settings: Any, prefix: str) -> list[str]:
    """Names it reads, from its refusal of one that it doesn't know."""
    try:
        read_settings({f"{prefix}NO_SUCH": ""})
    except Exception as error:  # its own error type; the message lists the names
        return sorted(set(re.findall(rf"{prefix}(\w+)", str(error))) - {"NO_SUCH"})
    raise AssertionError("an unknown variable was accepted")


def _dataclass_fields(kind: type[Any]) -> Iterator[tuple[str, str, str]]:
    module = sys.modules[kind.__module__]
    docs = _docs_below_fields(kind)
    for field in dataclasses.fields(kind):
        nested = getattr(module, str(field.type).removesuffix(" | None"), None)
        if dataclasses.is_dataclass(nested) and isinstance(nested, type):
            yield from _dataclass_fields(nested)
            continue
        value = field.default
        if value is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        yield field.name.upper(), code(_plain_default(value)), docs.get(field.name, "")


def _plain_default(value: object) -> str:
    if value is dataclasses.MISSING or value is None:
        return ""
    if isinstance(value, Path):
        return value.name + "/ of the package"
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return str(value)


def _docs_below_fields(kind: type[Any]) -> dict[str, str]:
    definition = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as doc)),
            ):
                docs[name] = " ".join(doc.split())
    return docs
