"""Server reflection over several descriptor pools, under both of its names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio

SERVICE_NAMES: Final = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)


def merged_pool(
    service_names: Iterable[str], extra_pools: Sequence[DescriptorPool]
) -> DescriptorPool:
    """One pool with the files of all named services and what they import.

    The extra pools come first: a service of a private pool must not be looked for in the default
    one, where another package may have registered its own idea of it.

    Args:
        service_names: full names; those without a descriptor anywhere are left out.
        extra_pools: private pools beside the default one.
    """
    merged = DescriptorPool()
    added: set[str] = set()
    for name in service_names:
        for pool in (*extra_pools, descriptor_pool.Default()):
            try:
                file = pool.FindFileContainingSymbol(name)
            except KeyError:
                continue
            _add(file, merged, added)
            break
    return merged


def add_reflection(
    server: grpc.aio.Server, service_names: Sequence[str], extra_pools: Sequence[DescriptorPool]
) -> None:
    """Adds reflection of these services.

    As ``v1`` too: its messages are those of ``v1alpha`` by number and type (grpc/reflection/v1 in
    grpc-proto), the package has servicers for the older name only, and newer clients ask for
    ``v1`` first.
    """
    names = (*service_names, SERVICE_NAMES[1])
    servicer = aio.ReflectionServicer(names, pool=merged_pool(names, extra_pools))
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
            for name in SERVICE_NAMES
        )
    )


def _add(file: FileDescriptor, pool: DescriptorPool, added: set[str]) -> None:
    if file.name in added:
        return
    added.add(file.name)
    for dependency in file.dependencies:
        _add(dependency, pool, added)
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    pool.Add(proto)
