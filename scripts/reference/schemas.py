"""Spec, plan and other pydantic models: JSON Schema for editors, tables for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from scripts.reference.markdown import prose, table

Json = dict[str, Any]


def documents() -> Iterator[tuple[str, type[BaseModel], str, str]]:
    from simcloud.spec.model import Spec
    from simcloud.spec.plan import Plan

    yield (
        "spec",
        Spec,
        "Spec",
        "What makes a frame. You write it as YAML; it is stored as RFC 8785 JSON with every "
        "default filled in. Lengths are metres, angles degrees, the world is Z up. "
        "[JSON Schema](schema/spec.schema.json): in editors that speak the YAML language server, "
        "begin the file with\n\n"
        "```yaml\n# yaml-language-server: $schema=<path to>/docs/reference/schema/spec.schema.json"
        "\n```",
    )
    yield (
        "plan",
        Plan,
        "Plan",
        "Which frames of a spec a run holds, how they are cut into shards and how they are scored. "
        "`simcloud run` makes it from its options and from `coco_labels.yaml` beside the spec; it "
        "is stored as `plans/0001.json` and may grow. [JSON Schema](schema/plan.schema.json).",
    )


def json_schema(model: type[BaseModel], title: str) -> Json:
    """The model's JSON Schema with the fields' docstrings and the short forms of distributions."""
    from simcloud.settings import field_docs

    schema = model.model_json_schema()
    models = {kind.__name__: kind for kind in subclasses(BaseModel)}
    for name, part in [(model.__name__, schema), *schema.get("$defs", {}).items()]:
        docs = field_docs(models[name]) if name in models else {}
        for field, body in part.get("properties", {}).items():
            body.pop("title", None)
            if field in docs:
                body["description"] = docs[field].replace("``", "`")
        if "description" in part:
            part["description"] = prose(part["description"])
    for name in _told_apart(schema):
        # The loader tells the forms of a union apart by it, default or not.
        part = schema["$defs"][name]
        part["required"] = sorted({*part.get("required", []), "kind"})
    result = _with_short_forms(schema)
    assert isinstance(result, dict)
    if "Constant" in result.get("$defs", {}):
        hidden = ("_", "Short")
        defs = {key: part for key, part in result["$defs"].items() if not key.startswith(hidden)}
        alone = {"Independent": _independent(defs)} if "Stratified" in defs else {}
        result["$defs"] = {**defs, **alone, "Distribution": _distribution(defs)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **result,
        "title": f"Simcloud {title.lower()}",
    }


def _told_apart(part: object) -> set[str]:
    """Names of the models that are forms of a union.

    Distributions apart: they have short forms without ``kind``.
    """
    if isinstance(part, list):
        return set().union(*(_told_apart(item) for item in part))
    if not isinstance(part, dict):
        return set()
    mapping = part.get("discriminator", {}).get("mapping", {})
    if _is_union(part) or _is_independent(part):
        return set()
    own = {ref.rpartition("/")[2] for ref in mapping.values()}
    return own.union(*(_told_apart(item) for key, item in part.items() if key != "discriminator"))


def _with_short_forms(part: object) -> object:
    """Every union of distributions becomes a reference to the one that has the short forms."""
    if isinstance(part, list):
        return [_with_short_forms(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {key: part[key] for key in ("description", "default") if key in part}
    forms = part.get("anyOf", [])
    if any(_is_independent(form) for form in forms):
        return {"$ref": "#/$defs/Independent", **kept}
    if _is_union(part) or any(_is_union(form) for form in forms):
        one = {"$ref": "#/$defs/Distribution"}
        nothing = {"type": "null"}
        return {"anyOf": [one, nothing], **kept} if nothing in forms else {**one, **kept}
    return {key: _with_short_forms(value) for key, value in part.items() if key != "discriminator"}


def _is_union(part: Json) -> bool:
    """Whether it is the union of all kinds of distributions."""
    return "constant" in part.get("discriminator", {}).get("mapping", {})


def _is_independent(part: Json) -> bool:
    """Whether it is the union of the kinds that can be stratified."""
    kinds = part.get("discriminator", {}).get("mapping", {})
    return "uniform" in kinds and "constant" not in kinds


_SCALAR: Json = {"type": ["number", "string", "boolean"]}
_NUMBER: Json = {"type": "number"}
_INDEPENDENT = ("Uniform", "LogUniform", "Normal", "Integer", "Choice")
_LISTS: dict[str, Json] = {
    "Choice": {"type": "array", "items": _SCALAR, "minItems": 1},
    "Sequence": {"type": "array", "items": _SCALAR, "minItems": 1},
    "GridValues": {
        "type": "array",
        "prefixItems": [_NUMBER, _NUMBER, {"type": "integer", "minimum": 2}],
        "minItems": 3,
        "maxItems": 3,
    },
}
_PAIR: Json = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}


def _short(defs: Json, kind: str) -> Json:
    """``{kind: [...]}`` or ``{kind: {...}}``."""
    name = defs[kind]["properties"]["kind"]["const"]
    body = {key: value for key, value in defs[kind].items() if key != "description"}
    body["properties"] = {key: value for key, value in body["properties"].items() if key != "kind"}
    return _single(name, {"anyOf": [_LISTS.get(kind, _PAIR), body]})


def _weighted() -> Json:
    weights = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}}
    return _single("weighted", weights)


def _independent(defs: Json) -> Json:
    forms = [*(_short(defs, kind) for kind in _INDEPENDENT), _weighted()]
    return {
        "title": "Independent",
        "description": "A distribution that can be stratified.",
        "anyOf": [*forms, *({"$ref": f"#/$defs/{kind}"} for kind in _INDEPENDENT)],
    }


def _distribution(defs: Json) -> Json:
    kinds = [kind for kind in _DISTRIBUTION_KINDS if kind in defs]
    forms: list[Json] = [{**_SCALAR, "description": "A constant."}]
    forms += [_short(defs, kind) for kind in kinds if kind in {*_INDEPENDENT, *_LISTS}]
    forms.append(_weighted())
    if "Reference" in defs:
        forms.append(_single("from", defs["Reference"]["properties"]["name"]))
    if "Stratified" in defs:
        forms.append(_single("stratified", {"$ref": "#/$defs/Independent"}))
    if "Conditional" in defs:
        fields = defs["Conditional"]["properties"]
        given = {key: value for key, value in fields.items() if key != "kind"}
        forms.append(
            {
                "type": "object",
                "properties": given,
                "required": ["given"],
                "additionalProperties": False,
            }
        )
    return {
        "title": "Distribution",
        "description": "A value, or how it is drawn anew for every frame.",
        "anyOf": [*forms, *({"$ref": f"#/$defs/{kind}"} for kind in kinds)],
    }


def _single(name: str, body: Json) -> Json:
    return {
        "type": "object",
        "properties": {name: body},
        "required": [name],
        "additionalProperties": False,
    }


def schema_sections(schema: Json) -> Iterator[str]:
    yield fields_table(schema)
    defs: Json = schema.get("$defs", {})
    for name in _reachable(schema, defs):
        part = defs[name]
        if name == "Distribution":
            yield _distributions(defs)
        elif "enum" in part:
            values = ", ".join(f"`{value}`" for value in part["enum"])
            yield f"## {name}\n\n{part.get('description', '')} One of {values}.\n"
        elif name not in {*_DISTRIBUTION_KINDS, "Independent", "JsonValue"}:
            yield f"## {name}\n\n{part.get('description', '')}\n\n{fields_table(part)}"


_DISTRIBUTION_KINDS = {
    "Constant": "`value`",
    "Uniform": "`{uniform: [low, high]}`",
    "LogUniform": "`{log_uniform: [low, high]}`",
    "Normal": "`{normal: [mean, deviation]}`",
    "Integer": "`{integer: [low, high]}`",
    "Choice": "`{choice: [a, b]}`, `{weighted: {a: 3, b: 1}}`",
    "Sequence": "`{sequence: [a, b]}`",
    "GridValues": "`{grid: [low, high, steps]}`",
    "Stratified": "`{stratified: {uniform: [low, high]}}`",
    "Reference": "`{from: name}`",
    "Conditional": (
        "`{given: name, cases: {a: 1, b: 2}, default: 3}`, "
        "`{given: name, below: {10: 1, 20: 2}, default: 3}`"
    ),
}


def _distributions(defs: Json) -> str:
    rows = []
    for name, short in _DISTRIBUTION_KINDS.items():
        fields = [
            f"`{field}`" + (f": {body['description']}" if "description" in body else "")
            for field, body in defs[name]["properties"].items()
            if field != "kind"
        ]
        rows.append((short, defs[name]["description"], " ".join(fields)))
    intro = (
        "A value, or how it is drawn anew for every frame. `u` is the value's own uniform in "
        "[0, 1): see [streams of random bits](../concepts/determinism.md). Each kind may also be "
        "written out, as `{uniform: {low: 0, high: 1}}` or `{kind: uniform, low: 0, high: 1}`.\n"
    )
    return f"## Distribution\n\n{intro}\n{table(('short form', 'value', 'fields'), rows)}"


def _reachable(schema: Json, defs: Json) -> list[str]:
    """Names of the definitions, in the order in which a reader meets them."""
    seen: list[str] = []
    waiting = [schema.get("properties", {})]
    while waiting:
        for name in re.findall(r'"#/\$defs/(\w+)"', json.dumps(waiting.pop(0))):
            if name not in seen:
                seen.append(name)
                waiting.append(defs[name])
    return seen


def fields_table(part: Json) -> str:
    required = part.get("required", [])
    rows = []
    for name, body in part.get("properties", {}).items():
        default = "required" if name in required else _default(body.get("default"))
        rows.append((f"`{name}`", _type(body), default, body.get("description", "")))
    return table(("field", "type", "default", "meaning"), rows)


def _default(value: object) -> str:
    if isinstance(value, dict) and value.get("kind") == "constant":
        value = value["value"]
    elif isinstance(value, dict) and value.get("kind") == "uniform":
        return f"`{{uniform: [{value['low']}, {value['high']}]}}`"
    if value in (None, {}, ""):
        return ""
    if isinstance(value, dict):
        return "its own"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _type(body: Json) -> str:
    match body:
        case {"$ref": str() as ref}:
            name = ref.rpartition("/")[2]
            # pydantic's own name for what has no definition beyond itself
            return "any JSON" if name == "JsonValue" else f"[{name}](#{name.lower()})"
        case {"anyOf": list() as forms} | {"oneOf": list() as forms}:
            return " or ".join(_type(form) for form in forms if form != {"type": "null"})
        case {"const": value}:
            return f"`{value}`"
        case {"enum": list() as values}:
            return ", ".join(f"`{value}`" if value else "empty" for value in values)
        case {"prefixItems": list() as items}:
            return f"{len(items)} of {_type(items[0])}"
        case {"type": "array", "items": dict() as item}:
            return f"list of {_type(item)}{_limits(body)}"
        case {"type": "object", "additionalProperties": dict() as item}:
            return f"name to {_type(item)}"
    return f"{body.get('type', 'any')}{_limits(body)}"


def _limits(body: Json) -> str:
    words = {
        "minimum": "≥ {}",
        "exclusiveMinimum": "> {}",
        "maximum": "≤ {}",
        "minItems": "at least {}",
        "maxItems": "at most {}",
        "pattern": "`{}`",
    }
    limits = []
    for key, text in words.items():
        if key in body:
            value = body[key]
            limits.append(text.format(f"{value:g}" if isinstance(value, float) else value))
    return ", " + ", ".join(limits) if limits else ""


def subclasses(kind: type[Any]) -> list[type[Any]]:
    """All of them, depth first, in the order of their definition."""
    found: list[type[Any]] = []
    for child in kind.__subclasses__():
        found += [child, *subclasses(child)]
    return list(dict.fromkeys(found))
