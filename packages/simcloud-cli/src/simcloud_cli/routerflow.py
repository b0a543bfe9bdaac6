"""What `simcloud router` asks of a router, and how it is printed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import TypeVar

from simcloud.client.router_admin import RoutedTarget, RouterAdminClient
from simcloud_cli.interrupt import run_async
from simcloud_cli.output import console, print_json, print_table
from simcloud_cli.session import with_running_router

T = TypeVar("T")


def show_targets(router: str | None, *, as_json: bool) -> None:
    """All targets of a replica.

    Args:
        router: its ``host:port``; None: the context's.
        as_json: one JSON document in place of a table.
    """
    found = _ask(router, lambda admin: admin.targets())
    if as_json:
        print_json(asdict(found))
        return
    _print_targets(found.targets)
    console().print(f"catalogue {found.catalog_digest}")
    if found.catalog_problem:
        console().print(f"not taken: {found.catalog_problem}", markup=False)


def change_target(
    router: str | None,
    change: Callable[[RouterAdminClient], Awaitable[RoutedTarget]],
    *,
    as_json: bool,
) -> None:
    """One change of one target, and what it is after that.

    Args:
        router: the replica's ``host:port``; None: the context's.
        change: what is asked.
        as_json: one JSON document in place of a table.
    """
    target = _ask(router, change)
    if as_json:
        print_json(asdict(target))
    else:
        _print_targets([target])


def reload_catalog(router: str | None, *, as_json: bool) -> None:
    """The catalogue read again, and what that changed.

    Args:
        router: the replica's ``host:port``; None: the context's.
        as_json: one JSON document in place of lines.
    """
    done = _ask(router, lambda admin: admin.reload_catalog())
    if as_json:
        print_json(asdict(done))
        return
    for what, names in (("new", done.added), ("changed", done.changed), ("gone", done.removed)):
        if names:
            console().print(f"{what}: {', '.join(names)}", markup=False)
    if not (done.added or done.changed or done.removed):
        console().print("nothing has changed")
    console().print(f"catalogue {done.catalog_digest}")


def _ask(router: str | None, ask: Callable[[RouterAdminClient], Awaitable[T]]) -> T:
    return run_async(with_running_router(router, lambda channel: ask(RouterAdminClient(channel))))


def _print_targets(targets: Iterable[RoutedTarget]) -> None:
    print_table(
        "",
        [
            *("model", "target", "kind", "role", "tier", "state", "weight", "in flight"),
            *("waiting", "limit", "average ms"),
        ],
        [
            (
                target.model,
                target.name,
                target.kind,
                target.role,
                target.tier,
                target.state,
                _weight(target),
                target.in_flight,
                target.waiting,
                target.limit,
                f"{target.average_s * 1000:.1f}" if target.average_s else None,
            )
            for target in targets
        ],
    )


def _weight(target: RoutedTarget) -> str:
    if target.weight == target.catalog_weight:
        return f"{target.weight:g}"
    return f"{target.weight:g} (catalogue {target.catalog_weight:g})"
