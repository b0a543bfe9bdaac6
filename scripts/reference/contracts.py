"""The page of the gRPC contracts, with their comments."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2

from scripts.reference.markdown import page, table

ROOT = Path(__file__).resolve().parents[2]


_KINDS = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in descriptor_pb2.FieldDescriptorProto.Type.items()
}


def contracts_page() -> str:
    files = sorted((ROOT / "proto").glob("simcloud/v1/*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.binpb"
        command = [sys.executable, "-m", "grpc_tools.protoc", "-Iproto", "--include_source_info"]
        names = [str(path.relative_to(ROOT)) for path in files]
        subprocess.run([*command, f"--descriptor_set_out={out}", *names], cwd=ROOT, check=True)
        described = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    sections = [text for file in described.file for text in _Proto(file).sections()]
    return page(
        "Contracts",
        "The gRPC services of `proto/simcloud/v1` with the comments of their definitions. The "
        "router also serves the Open Inference Protocol: `proto/inference/grpc_service.proto`. How "
        "the streams go is drawn in [streams](../concepts/streams.md).",
        *sections,
    )


class _Proto:
    """One file's services, messages and enums as Markdown."""

    def __init__(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self._file = file
        self._comments = {
            tuple(location.path): location.leading_comments
            for location in file.source_code_info.location
        }

    def sections(self) -> Iterator[str]:
        yield f"## {self._file.name}\n"
        for number, service in enumerate(self._file.service):
            yield f"### {service.name}\n\n{self._comment(6, number)}\n"
            for index, method in enumerate(service.method):
                asked = self._streamed(method.input_type, streamed=method.client_streaming)
                answer = self._streamed(method.output_type, streamed=method.server_streaming)
                comment = self._comment(6, number, 2, index)
                yield f"#### {method.name}\n\n`{asked} → {answer}`\n\n{comment}\n"
        for number, message in enumerate(self._file.message_type):
            yield self._message(message, number)
        for number, enum in enumerate(self._file.enum_type):
            rows = [
                (f"`{value.name}`", str(value.number), self._comment(5, number, 2, index))
                for index, value in enumerate(enum.value)
            ]
            yield f"### {enum.name}\n\n{self._comment(5, number)}\n"
            yield table(("value", "number", "meaning"), rows)

    def _message(self, message: descriptor_pb2.DescriptorProto, number: int) -> str:
        rows = []
        entries = {item.name: item for item in message.nested_type if item.options.map_entry}
        for index, field in enumerate(message.field):
            kind = _field_type(field, entries)
            rows.append(
                (f"`{field.name}`", kind, str(field.number), self._comment(4, number, 2, index))
            )
        head = f"### {message.name}\n\n{self._comment(4, number)}\n"
        return head + ("\n" + table(("field", "type", "number", "meaning"), rows) if rows else "")

    def _streamed(self, kind: str, *, streamed: bool) -> str:
        return ("stream " if streamed else "") + kind.rpartition(".")[2]

    def _comment(self, *path: int) -> str:
        lines = self._comments.get(path, "").strip().splitlines()
        return "\n".join(line.removeprefix(" ") for line in lines)


def _field_type(
    field: descriptor_pb2.FieldDescriptorProto, entries: dict[str, descriptor_pb2.DescriptorProto]
) -> str:
    short = field.type_name.rpartition(".")[2]
    if short in entries:
        key, value = (_field_type(item, {}) for item in entries[short].field)
        return f"map of {key} to {value}"
    kind = short or _KINDS[field.type]
    repeated = field.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    return f"repeated {kind}" if repeated else kind
