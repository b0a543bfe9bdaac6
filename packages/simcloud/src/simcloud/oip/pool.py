"""Messages of the Open Inference Protocol from a private descriptor pool.

Never from generated modules: any other package in the process with its own ``inference.*`` stubs
(tritonclient, kserve, mlserver) would collide with ours in the default pool. Messages of two pools
are different classes, even where they are the same on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final, TypeAlias

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

PACKAGE: Final = "inference"
SERVICE_NAME: Final = "inference.GRPCInferenceService"

# The edge: classes made at run time have no static type.
OipMessage: TypeAlias = Any


@cache
def pool() -> DescriptorPool:
    """The private pool, which holds the protocol and nothing else; for reflection too."""
    made = DescriptorPool()
    data = resources.files("simcloud.oip").joinpath("descriptors.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        made.Add(file)
    return made


@cache
def messages() -> Mapping[str, type[OipMessage]]:
    """Message classes by their name without the package, nested ones as ``Outer.Inner``."""
    file = pool().FindFileContainingSymbol(SERVICE_NAME)
    found: dict[str, type[OipMessage]] = {}
    waiting = list(file.message_types_by_name.values())
    while waiting:
        descriptor = waiting.pop()
        name = descriptor.full_name.removeprefix(f"{PACKAGE}.")
        found[name] = message_factory.GetMessageClass(descriptor)
        waiting.extend(descriptor.nested_types)
    return found


@cache
def enum_number(enum: str, value: str) -> int:
    """Number of an enum's value by names, for example ``DataType``, ``TYPE_FP32``.

    Raises:
        KeyError: there is no such enum or value.
    """
    descriptor = pool().FindEnumTypeByName(f"{PACKAGE}.{enum}")
    return int(descriptor.values_by_name[value].number)


def method_descriptors() -> tuple[MethodDescriptor, ...]:
    """The methods of the service, in the order of the contract."""
    return tuple(pool().FindServiceByName(SERVICE_NAME).methods)
