"""Pages of the tables that the code keeps: annotators, metrics, errors, exit codes."""

from __future__ import annotations

from collections.abc import Iterable

from scripts.reference.markdown import page, prose, table
from scripts.reference.schemas import subclasses


def annotators_page() -> str:
    from simcloud.annotators import ANNOTATORS, ENCODINGS

    rows = [
        (
            f"`{row.name}`",
            row.dtype,
            row.shape,
            row.unit,
            row.frame_of_reference,
            ", ".join(f"`{item.value}`" for item in row.encodings),
            row.description,
        )
        for row in ANNOTATORS.values()
    ]
    columns = ("annotator", "dtype", "shape", "unit", "frame of reference", "encodings", "meaning")
    encodings = [
        (f"`{kind.value}`", f"`.{info.extension}`", info.media_type)
        for kind, info in ENCODINGS.items()
    ]
    return page(
        "Annotators",
        "Names and conventions are Replicator's. The first encoding is the default; `json`: the "
        "annotator has no layer of its own, its rows stand in the frame's json member.",
        table(columns, rows),
        "## Encodings\n",
        table(("encoding", "extension", "media type"), encodings),
    )


def metrics_page() -> str:
    from simcloud.telemetry.names import declared
    from simcloud_model_container.telemetry import Metrics

    rows = []
    for metric in declared():
        name = metric.name + "_total" * (metric.kind == "counter")
        rows.append((f"`{name}`", metric.kind, _labels(metric.labels), metric.help))
    container = []
    for family in Metrics().registry.collect():
        name = family.name + "_total" * (family.type == "counter")
        container.append((f"`{name}`", family.type, "", family.documentation))
    return page(
        "Metrics",
        "Each service answers `GET /metrics` at its `metrics_listen`, in Prometheus' format; the "
        "model container at its own port. Bounded labels only: no run, no frame, no caller.",
        "## Services\n",
        table(("metric", "kind", "labels", "meaning"), rows),
        "## Model container\n",
        table(("metric", "kind", "meaning"), ((n, k, h) for n, k, _, h in sorted(container))),
    )


def _labels(labels: Iterable[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def errors_page() -> str:
    from simcloud.errors import ErrorParts, SimcloudError
    from simcloud_cli.exit_codes import code_of

    rows = []
    kinds = [item for item in subclasses(SimcloudError) if not item.__name__.startswith("_")]
    for kind in sorted(kinds, key=lambda item: (item.reason, item.__name__)):
        error = kind.from_parts(ErrorParts(message=""))
        rows.append(
            (
                f"`{kind.reason}`",
                kind.__name__,
                kind.code.name,
                "yes" if kind.retryable else "no",
                str(int(code_of(error))),
                prose(kind.__doc__).split("\n\n")[0],
            )
        )
    return page(
        "Errors",
        "An error travels as a gRPC status with `google.rpc` details: `ErrorInfo` with the reason "
        "below, domain `simcloud` and the message's values as metadata; `BadRequest` with the "
        "field; `RetryInfo` where waiting helps; `PreconditionFailure` with every violation. "
        "*Retryable* says whether the same request may succeed later; *exit* is what `simcloud` "
        "ends with ([exit codes](exit-codes.md)).",
        table(("reason", "class", "gRPC code", "retryable", "exit", "meaning"), rows),
    )


def exit_codes_page() -> str:
    from simcloud_cli.exit_codes import MEANINGS

    rows = [(str(code.value), code.name, meaning) for code, meaning in MEANINGS.items()]
    return page(
        "Exit codes",
        "What `simcloud` ends with; scripts and schedulers may rely on it. A service ends with 0 "
        "when it was stopped, 1 when it could not start or failed, 2 for wrong settings.",
        table(("code", "name", "meaning"), rows),
    )
