"""An API server of Kubernetes on loopback, as much of it as kubectl needs for runs.

Real kubectl talks to it: discovery, OpenAPI's word on field validation, server-side apply, GET,
LIST with selectors, DELETE, access reviews. What the published schema does not allow is refused.
There is no etcd and no watch; what happens to Jobs is `kube_jobs`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from aiohttp import web

from support.http_site import http_site
from support.kube_rules import VERSION, Manifest, Refused, check, check_change


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind that the server has."""

    group: str
    kind: str
    plural: str
    namespaced: bool = True
    version: str = "v1"

    @property
    def group_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


RESOURCES = (
    Resource("", "Namespace", "namespaces", namespaced=False),
    Resource("", "Node", "nodes", namespaced=False),
    Resource("", "ConfigMap", "configmaps"),
    Resource("", "Secret", "secrets"),
    Resource("", "ServiceAccount", "serviceaccounts"),
    Resource("", "PersistentVolumeClaim", "persistentvolumeclaims"),
    Resource("", "Pod", "pods"),
    Resource("apps", "DaemonSet", "daemonsets"),
    Resource("batch", "Job", "jobs"),
    Resource("discovery.k8s.io", "EndpointSlice", "endpointslices"),
    Resource("scheduling.k8s.io", "PriorityClass", "priorityclasses", namespaced=False),
    Resource("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews", False),
)

Key = tuple[str, str, str]
"""Qualified plural, namespace (empty for none), name."""


@dataclass
class KubeApi:
    """What the server has, and what it answers."""

    version: str = f"v{VERSION}.0"
    objects: dict[Key, Manifest] = field(default_factory=dict)
    denied: set[tuple[str, str]] = field(default_factory=set)
    """Verbs and qualified plurals that the caller may not."""
    unanswered: set[tuple[str, str]] = field(default_factory=set)
    """Verbs and qualified plurals that are carried out, and whose answer never comes."""
    on_create: Callable[[Manifest], None] = lambda item: None
    on_delete: Callable[[Manifest], None] = lambda item: None
    requests: list[str] = field(default_factory=list)
    """Method and path, in the order in which they came."""

    def add(self, item: Manifest) -> Manifest:
        """Stores an object as a controller would, unchecked by any schema but its own."""
        resource = next(each for each in RESOURCES if each.kind == item["kind"])
        item.setdefault("apiVersion", resource.group_version)
        metadata = item["metadata"]
        metadata.setdefault("uid", secrets.token_hex(8))
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        namespace = metadata.get("namespace", "") if resource.namespaced else ""
        self.objects[(resource.qualified, namespace, metadata["name"])] = item
        return item

    def of(self, plural: str, namespace: str = "") -> list[Manifest]:
        """All objects of a resource; without a namespace of all of them."""
        return [
            item
            for (kind, where, _), item in sorted(self.objects.items())
            if kind == plural and namespace in {"", where}
        ]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The server's one handler."""
        self.requests.append(f"{request.method} {request.path}")
        parts = request.path.strip("/").split("/")
        if request.method == "GET" and (document := self._about(parts)) is not None:
            return web.json_response(document)
        if parts[0] == "api" and len(parts) > 2:
            group, rest = "", parts[2:]
        elif parts[0] == "apis" and len(parts) > 3:
            group, rest = parts[1], parts[3:]
        else:
            return _status(404, "NotFound", "the server could not find the requested resource")
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        for resource in RESOURCES:
            if (resource.group, resource.plural) == (group, rest[0]):
                name = rest[1] if len(rest) > 1 else ""
                return await self._object(request, resource, namespace, name)
        return _status(404, "NotFound", "the server could not find the requested resource")

    def _about(self, parts: list[str]) -> object | None:
        """What the server says of itself."""
        groups = sorted({item.group for item in RESOURCES if item.group})
        match parts:
            case ["version"]:
                major, minor = self.version.removeprefix("v").split(".")[:2]
                return {"major": major, "minor": minor, "gitVersion": self.version}
            case ["api"]:
                return {"kind": "APIVersions", "versions": ["v1"]}
            case ["apis"]:
                return {
                    "kind": "APIGroupList",
                    "apiVersion": "v1",
                    "groups": [_group(name) for name in groups],
                }
            case ["api", "v1"]:
                return _resource_list("v1")
            case ["apis", group, "v1"] if group in groups:
                return _resource_list(f"{group}/v1")
            case ["openapi", "v3"]:
                paths = ["api/v1", *(f"apis/{name}/v1" for name in groups)]
                return {"paths": {p: {"serverRelativeURL": f"/openapi/v3/{p}"} for p in paths}}
            case ["openapi", "v3", *path]:
                return _openapi(path[1] if path[0] == "apis" else "")
            case _:
                return None

    async def _object(
        self, request: web.Request, resource: Resource, namespace: str, name: str
    ) -> web.StreamResponse:
        verb = {"GET": "get" if name else "list", "PATCH": "patch", "POST": "create"}.get(
            request.method, request.method.lower()
        )
        if (verb, resource.qualified) in self.denied:
            return _status(
                403,
                "Forbidden",
                f'{resource.qualified} is forbidden: User "test" cannot {verb} resource '
                f'"{resource.plural}" in API group "{resource.group}" in the namespace '
                f'"{namespace}"',
            )
        if resource.kind == "SelfSubjectAccessReview":
            return self._review(await request.json())
        key = (resource.qualified, namespace, name)
        if verb == "list":
            return self._list(request, resource, namespace)
        if verb == "patch":
            answer = await self._apply(request, resource, key)
            if (verb, resource.qualified) in self.unanswered:
                # Until the client has gone, which cancels this.
                await asyncio.Event().wait()
            return answer
        item = self.objects.get(key)
        if item is None:
            return _status(404, "NotFound", f'{resource.qualified} "{name}" not found')
        if verb == "delete":
            del self.objects[key]
            self.on_delete(item)
        return web.json_response(item)

    async def _apply(self, request: web.Request, resource: Resource, key: Key) -> web.Response:
        """Server-side apply, the one way to make anything."""
        if request.content_type != "application/apply-patch+yaml":
            return _status(415, "UnsupportedMediaType", f"{request.content_type} is not apply")
        if not request.query.get("fieldManager"):
            return _status(400, "BadRequest", "fieldManager is required for apply patch")
        item = yaml.safe_load(await request.text())
        _, namespace, name = key
        if namespace and ("namespaces", "", namespace) not in self.objects:
            return _status(404, "NotFound", f'namespaces "{namespace}" not found')
        old = self.objects.get(key)
        try:
            if (item["apiVersion"], item["kind"]) != (resource.group_version, resource.kind):
                raise Refused(f"{item['kind']} of {item['apiVersion']} is not {resource.kind}")
            if item["metadata"]["name"] != name:
                raise Refused("metadata.name: Invalid value: is not the name of the URL")
            check(item)
            if old is not None:
                check_change(old, item)
        except Refused as error:
            said = f'{resource.kind}.{resource.group} "{name}" is invalid: {error}'
            return _status(422, "Invalid", said)
        if "dryRun" in request.query:
            return web.json_response(item)
        if old is None:
            self.add(item)
            self.on_create(item)
            return web.json_response(item, status=201)
        item["metadata"] = {**old["metadata"], **item["metadata"]}
        self.add({**old, **item})
        return web.json_response(self.objects[key])

    def _list(self, request: web.Request, resource: Resource, namespace: str) -> web.Response:
        items = self.of(resource.qualified, namespace)
        for term in filter(None, request.query.get("labelSelector", "").split(",")):
            label, _, value = term.partition("=")
            items = [i for i in items if i["metadata"].get("labels", {}).get(label) == value]
        selector = request.query.get("fieldSelector", "")
        if selector:
            assert selector == "status.phase!=Succeeded", selector
            items = [i for i in items if i.get("status", {}).get("phase") != "Succeeded"]
        return web.json_response(
            {
                "kind": f"{resource.kind}List",
                "apiVersion": resource.group_version,
                "metadata": {"resourceVersion": "1"},
                "items": items,
            }
        )

    def _review(self, review: Manifest) -> web.Response:
        asked = review["spec"]["resourceAttributes"]
        group = asked.get("group", "")
        plural = f"{asked['resource']}.{group}" if group else asked["resource"]
        allowed = (asked["verb"], plural) not in self.denied
        return web.json_response({**review, "status": {"allowed": allowed}}, status=201)


@asynccontextmanager
async def kube_api(folder: Path) -> AsyncIterator[tuple[KubeApi, dict[str, str]]]:
    """A server within the block, and the variables by which kubectl finds it alone."""
    api = KubeApi()
    async with http_site(api.answer) as url:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": url}}],
            "users": [{"name": "test", "user": {"token": "test"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        # kubectl keeps what it discovered, by host and port.
        yield api, {"KUBECONFIG": str(path), "KUBECACHEDIR": str(folder / "kubecache")}


def _group(name: str) -> Manifest:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resource_list(group_version: str) -> Manifest:
    resources = [
        {
            "name": item.plural,
            "singularName": item.kind.lower(),
            "namespaced": item.namespaced,
            "kind": item.kind,
            "verbs": ["create", "delete", "get", "list", "patch", "watch"],
        }
        for item in RESOURCES
        if item.group_version == group_version
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }


def _openapi(group: str) -> Manifest:
    """That PATCH takes fieldValidation: then kubectl leaves validation to the server."""
    paths = {
        f"/{item.plural}/{{name}}": {
            "patch": {
                "x-kubernetes-group-version-kind": {
                    "group": group,
                    "version": item.version,
                    "kind": item.kind,
                },
                "parameters": [{"name": "fieldValidation", "in": "query"}],
                "responses": {},
            }
        }
        for item in RESOURCES
        if item.group == group
    }
    return {"openapi": "3.0.0", "info": {"title": "test", "version": "1"}, "paths": paths}


def _status(code: int, reason: str, message: str) -> web.Response:
    return web.json_response(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        },
        status=code,
    )
