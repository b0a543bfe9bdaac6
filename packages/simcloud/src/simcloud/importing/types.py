"""What every reader of a foreign format gives: pictures by name, and what their labels say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from simcloud.dataset.encode import Array
from simcloud.dataset.record import CameraRecord
from simcloud.spec.parameters import Scalar

FORMATS = ("coco", "yolo", "voc", "masks", "counts", "classes", "cifar", "basicwriter")
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""Suffixes, in lower case, of files that are taken for pictures."""

BoxF = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max; edges, origin at the picture's top left corner."""


@dataclass(frozen=True, slots=True)
class ImportLimits:
    """What a source may ask of this machine."""

    files: int = 5_000_000
    """Files of a source."""
    label_bytes: int = 1 << 30
    """One label file; COCO's largest has 450 MB."""
    picture_bytes: int = 64 << 20
    """One picture, as a file."""
    side_px: int = 8192
    """Width and height of a picture: as much as a spec's camera may have."""
    pixels: int = 64 << 20
    """Width times height."""
    objects: int = 5000
    """Labelled objects of one picture: their rows must fit a frame's record."""
    parallel: int = 4
    """Pictures that are looked at at once."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a source."""

    name: str
    """Relative to the source, parts joined by slashes."""
    size_bytes: int


class Source(Protocol):
    """Where pictures and labels come from."""

    @property
    def label(self) -> str:
        """How it is called in messages: a path or an ``s3://`` URI."""
        ...

    async def files(self, problems: Problems) -> list[SourceFile]:
        """All of it, by name; what can't be a file of it becomes a problem."""
        ...

    async def read(self, name: str, *, limit: int) -> bytes:
        """A whole file.

        Raises:
            InvalidRequest: it can't be read, or is larger than the limit.
        """
        ...


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a source."""

    file: str
    what: str
    picture: str = ""
    """Key of the frame that would have to be left out; empty: nothing can go on without it."""

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


@dataclass(slots=True)
class Problems:
    """Everything that was found wrong; the one mutable thing of a scan."""

    found: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Nothing wrong, but worth saying."""

    def add(self, file: str, what: str, *, picture: str = "") -> None:
        """Notes a problem; see :class:`Problem`."""
        self.found.append(Problem(file=file, what=what, picture=picture))

    def note(self, text: str) -> None:
        """Something for people to know."""
        self.notes.append(text)

    @property
    def skippable(self) -> frozenset[str]:
        """Keys of frames that are not as they should be."""
        return frozenset(item.picture for item in self.found if item.picture)

    @property
    def fatal(self) -> list[Problem]:
        """Problems that no left-out frame mends."""
        return [item for item in self.found if not item.picture]


@dataclass(frozen=True, slots=True)
class Solid:
    """An object's box in its own frame, and where that stands."""

    minimum: tuple[float, float, float]
    """Metres, before the scale of ``local2world``."""
    maximum: tuple[float, float, float]
    local2world: tuple[float, ...]
    """4x4, row-major, for column vectors; metres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceObject:
    """One labelled object, as its source has it."""

    label: str
    box: BoxF | None
    """None when the source counts it without saying where it is."""
    relative: bool = False
    """Whether the box is in shares of width and height rather than in pixels."""
    loose: BoxF | None = None
    """Box of all of it in the picture, as if nothing stood before it."""
    solid: Solid | None = None
    ignored: bool = False
    """Whether it counts neither way when scored."""
    visible_px: int | None = None
    """Pixels of its mask; None without one."""
    occlusion: float | None = None
    instance_id: int = 0
    """Its id in ``instance_segmentation``, 2 or more; 0: the next free one."""
    name: str = ""
    prim: str = ""
    where: str = ""
    """File, and line or entry, that says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFrame:
    """One picture and what is said of it."""

    picture: str
    """File of the source."""
    item: int | None = None
    """Which picture of a file that holds many, from 0."""
    split: str = ""
    """Its split by the source; empty when the source says none."""
    objects: tuple[SourceObject, ...] = ()
    declared: tuple[int, int] | None = None
    """Width and height as the labels say."""
    params: Mapping[str, Scalar] = field(default_factory=dict)
    """Columns of the index; the same names in every frame of a source."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Other files of the frame, by what they are."""

    @property
    def key(self) -> str:
        """Unique name; frames stand in its order within their split."""
        return self.picture if self.item is None else f"{self.picture}#{self.item:06d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameContent:
    """What a frame holds beside its picture, once its files are read."""

    objects: tuple[SourceObject, ...]
    layers: Mapping[str, Array] = field(default_factory=dict)
    """Arrays by annotator, as the annotator table has them."""
    view: CameraRecord | None = None
    """The camera, where the source knows it."""


class Content:
    """How a format's frames are read; this one is right for a file a picture.

    Args:
        source: already checked.
        limits: of what is read.
    """

    annotators: tuple[str, ...] = ()
    """Layers beside ``rgb``."""

    def __init__(self, source: Source, limits: ImportLimits) -> None:
        self._source = source
        self._limits = limits

    async def rgb(self, frame: SourceFrame) -> bytes | Array:
        """The picture: a file's bytes, or (H, W, 3) uint8 RGB.

        Raises:
            InvalidRequest: it can't be read.
        """
        return await self._source.read(frame.picture, limit=self._limits.picture_bytes)

    async def content(self, frame: SourceFrame, size: tuple[int, int]) -> FrameContent:
        """Objects and layers of a frame whose picture has this width and height.

        Raises:
            InvalidRequest: a file is not what it should be.
        """
        del size
        return FrameContent(objects=frame.objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """A source's labels, read whole."""

    frames: list[SourceFrame]
    classes: tuple[str, ...]
    """Names of the classes, in alphabetic order."""
    boxed: bool
    """Whether the format says where objects are."""
    content: Content
    rows: tuple[str, ...] = ()
    """Annotators without layers that it has beside ``bounding_box_2d_tight``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderInput:
    """What a reader reads."""

    source: Source
    files: Mapping[str, SourceFile]
    limits: ImportLimits
    problems: Problems
    labels_file: str = ""
    """File with labels or class names, relative to the source; empty: the format's usual one."""
    masks: bool = True
    """Whether outlines are painted into id layers."""

    def pictures(self) -> list[str]:
        """Names of the files that are pictures, in order."""
        return sorted(name for name in self.files if suffix_of(name) in PICTURES)

    async def read(self, name: str) -> bytes:
        """A label file."""
        return await self.source.read(name, limit=self.limits.label_bytes)


def suffix_of(name: str) -> str:
    """Suffix in lower case, with its dot; empty without one."""
    base = name.rsplit("/", 1)[-1]
    dot = base.rfind(".")
    return base[dot:].lower() if dot > 0 else ""


def stem_of(name: str) -> str:
    """The last part without its suffix."""
    base = name.rsplit("/", 1)[-1]
    dot = base.rfind(".")
    return base[:dot] if dot > 0 else base


def folder_of(name: str) -> str:
    """The folder, without a slash at its end; empty at the top."""
    return name.rpartition("/")[0]
