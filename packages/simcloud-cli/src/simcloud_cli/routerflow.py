"""What `simcloud router` asks of a router, and how it is printed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import TypeVar

import grpc.aio

from simcloud.client.router import RouterClient
from simcloud.client.router_admin import RoutedTarget, RouterAdminClient
from simcloud.errors import NotReady
from simcloud.rpc.channel import connect
from simcloud_cli.context import Context
from simcloud_cli.embedded import Part
from simcloud_cli.interrupt import run_async
from simcloud_cli.output import console, print_json, print_table
from simcloud_cli.reach import reached, unnamed
from simcloud_cli.session import current_context, filled_in, has, state_dir

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
    for problem in found.discovery_problems:
        console().print(f"discovery: {problem}", markup=False)


def show_statistics(router: str | None, model: str, *, as_json: bool) -> None:
    """Counts of a replica's models.

    Args:
        router: its ``host:port``; None: the context's.
        model: its name; empty: all.
        as_json: one JSON document in place of a table.
    """
    found = run_async(
        _with_running_router(router, lambda channel: RouterClient(channel).statistics(model))
    )
    if as_json:
        print_json([asdict(each) for each in found])
        return
    print_table(
        "",
        [
            *("model", "requests", "answered", "failed", "executions", "together", "retries"),
            *("hedges", "queue ms", "target ms"),
        ],
        [
            (
                each.model,
                each.requests,
                each.succeeded,
                ", ".join(f"{reason} {count}" for reason, count in sorted(each.failed.items())),
                each.executions,
                each.batched_requests,
                each.retries,
                each.hedges,
                _average_ms(each.queue_s, each.succeeded),
                _average_ms(each.target_s, each.succeeded),
            )
            for each in found
        ],
    )


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


async def _with_running_router(
    router: str | None, work: Callable[[grpc.aio.Channel], Awaitable[T]]
) -> T:
    """Does an operator's work with an inference-router that runs; nothing is started for it.

    Args:
        router: its ``host:port``, in place of the context's.
        work: what is done with a channel to it.

    Raises:
        NotReady: it can't be reached, or the embedded stack doesn't run.
        PreconditionFailed: the context names none.
    """
    name, context = current_context()
    if router is not None:
        context = context.model_copy(update={"router": router, "embedded": False})
    needs = frozenset({Part.ROUTER})
    if not context.embedded:
        return await _with_router(name, context, work)
    with state_dir(context).share() as info:
        if info is None or not has(info, needs):
            raise NotReady(
                f"no inference-router of context {name} runs on this machine: start one with "
                "`simcloud up`, or name one by --router or --context"
            )
        return await _with_router(name, filled_in(context, info), work)


async def _with_router(
    name: str, context: Context, work: Callable[[grpc.aio.Channel], Awaitable[T]]
) -> T:
    if not context.router:
        raise unnamed(name, "router")
    async with connect(context.router, tls=context.tls) as channel:
        await reached(
            channel,
            what=f"the {Part.ROUTER.value} of context {name}",
            target=context.router,
            patience_s=context.wait_for_services_s,
            look=f"simcloud --context {name} doctor",
        )
        return await work(channel)


def _ask(router: str | None, ask: Callable[[RouterAdminClient], Awaitable[T]]) -> T:
    return run_async(_with_running_router(router, lambda channel: ask(RouterAdminClient(channel))))


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


def _average_ms(total_s: float, count: int) -> str | None:
    return f"{1000 * total_s / count:.1f}" if count else None


def _weight(target: RoutedTarget) -> str:
    if target.weight == target.catalog_weight:
        return f"{target.weight:g}"
    return f"{target.weight:g} (catalogue {target.catalog_weight:g})"
