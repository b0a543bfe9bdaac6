"""What `simcloud infer` tells: a JSON document that grows, a table of the first rows."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from simcloud.errors import InvalidRequest
from simcloud.scoring.types import Classification, Detection
from simcloud_cli.output import console, print_table

_TABLE_ROWS = 200
"""Of the table; all are in detections.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a model saw in one picture."""

    name: str
    code: int
    """gRPC status code as a number; 0 when the picture was looked at and drawn."""
    reason: str = ""
    message: str = ""
    detections: tuple[Detection, ...] = ()
    classifications: tuple[Classification, ...] = ()
    drawn: str = ""
    """Path of the picture with what was seen; empty when there was no answer."""
    target: str = ""
    total_s: float = 0.0
    """Within the router."""
    frame: int | None = None
    """Index in a video."""
    time_s: float | None = None
    """From a video's first frame."""


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Says of what can't be written which option names another place.

    Raises:
        InvalidRequest: for an OSError of the block.
    """
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        problem = f"{error.filename or folder} is a file; name a folder"
        raise InvalidRequest("--output", problem) from error
    except OSError as error:
        problem = f"can't write to {folder}: {error.strerror or error}; name another folder"
        raise InvalidRequest("--output", problem) from error


class InferOutput:
    """Writes rows as they come; memory doesn't grow with their number.

    Entered = ``detections.json`` is open; left, also by an error, = it is a whole document, and the
    table is printed.
    """

    def __init__(self, title: str, folder: Path, *, json: bool) -> None:
        self.failed = 0
        self.told = 0
        self._title = title
        self._folder = folder
        self._json = json
        self._rows: list[tuple[str, str, str]] = []
        self._documents: list[_Array] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with writing_to(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._stack.enter_context((self._folder / "detections.json").open("w"))
        self._documents.append(_Array(file))
        if self._json:
            self._documents.append(_Array(sys.stdout))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for document in self._documents:
            # An error that ends all before the first row is the one document on standard output.
            if self.told or error is None or document is self._documents[0]:
                with self._told_of(document):
                    document.close()
        with writing_to(self._folder):
            self._stack.close()
        if self.told and not self._json:
            self._print_table()

    def add(self, seen: Seen) -> None:
        """Tells one row."""
        self.told += 1
        self.failed += bool(seen.code)
        for document in self._documents:
            with self._told_of(document):
                document.add(_document(seen))
        if not self._json and len(self._rows) < _TABLE_ROWS:
            at = "" if seen.time_s is None else f"{seen.time_s:.2f}"
            self._rows.append((_shown(seen, at), _words(seen), f"{1000 * seen.total_s:.0f}"))

    def _told_of(self, document: _Array) -> AbstractContextManager[None]:
        # Standard output that is closed is nothing that another folder would mend.
        return writing_to(self._folder) if document is self._documents[0] else nullcontext()

    def _print_table(self) -> None:
        print_table(self._title, ["picture", "seen", "ms"], self._rows)
        out = console()
        if self.told > len(self._rows):
            out.print(f"and {self.told - len(self._rows)} more in detections.json")
        if self.failed:
            out.print(f"{self.failed} of {self.told} without an answer or a drawing")
        out.print(f"pictures as seen and detections.json: {self._folder}", markup=False)


class _Array:
    """A JSON array that grows element by element."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._begun = False

    def add(self, document: object) -> None:
        self._file.write(",\n" if self._begun else "[\n")
        self._begun = True
        self._file.write(json_module.dumps(document, indent=1))

    def close(self) -> None:
        self._file.write("\n]\n" if self._begun else "[]\n")


def _document(seen: Seen) -> dict[str, object]:
    return {**asdict(seen), "detections": _boxes(seen.detections)}


def _shown(seen: Seen, at: str) -> str:
    return f"{seen.name} ({at} s)" if at else seen.name


def _words(seen: Seen) -> str:
    found: list[Detection | Classification] = [*seen.detections, *seen.classifications]
    words = ", ".join(f"{one.label} {one.score:.2f}" for one in found)
    if seen.code:
        return f"{words}; {seen.message}" if words else f"no answer: {seen.message}"
    return words or "nothing"


def _boxes(detections: Sequence[Detection]) -> list[dict[str, object]]:
    return [
        {
            "label": item.label,
            "class_id": item.class_id,
            "score": item.score,
            "box_xyxy_px": list(item.box),
        }
        for item in detections
    ]
