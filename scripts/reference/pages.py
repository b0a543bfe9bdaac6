"""Which pages there are."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator

from scripts.reference.command_line import command_line_page
from scripts.reference.contracts import contracts_page
from scripts.reference.markdown import page
from scripts.reference.schemas import documents, json_schema, schema_sections
from scripts.reference.settings import SERVICES, settings_page
from scripts.reference.tables import (
    annotators_page,
    errors_page,
    exit_codes_page,
    metrics_page,
)


def make_pages() -> Iterator[tuple[str, str]]:
    """Every page: its path within `docs/reference` and its text."""
    _import_everything()
    for name, model, title, intro in documents():
        schema = json_schema(model, title)
        yield f"schema/{name}.schema.json", json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
        yield f"{name}.md", page(title, intro, *schema_sections(schema))
    yield "annotators.md", annotators_page()
    yield "settings.md", settings_page()
    yield "metrics.md", metrics_page()
    yield "errors.md", errors_page()
    yield "exit-codes.md", exit_codes_page()
    yield "cli.md", command_line_page()
    yield "protos.md", contracts_page()


def _import_everything() -> None:
    """Imports every module of the library and the services: declarations are made on import."""
    for package in ("simcloud", "simcloud_cli", *(item for item, _ in SERVICES.values())):
        root = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
