"""`simcloud preview`: what a spec will look like, before anything is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simcloud_cli.commands.common import JsonOption

MAX_FRAMES = 256


def preview(
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC", help="Spec's YAML, or the folder of a spec.yaml.")
    ],
    *,
    frame: Annotated[int, typer.Option("--frame", "-f", min=0, help="First frame index.")] = 0,
    frames: Annotated[
        int, typer.Option("--frames", "-n", min=1, max=MAX_FRAMES, help="How many frames.")
    ] = 1,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the pictures and labels.")
    ] = Path("preview"),
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet", help="Write one picture of all frames in place of files: .jpg or .png."
        ),
    ] = None,
    annotators: Annotated[
        str,
        typer.Option(
            "--annotators",
            help="Names separated by commas, in place of the spec's; a sheet shows each one.",
        ),
    ] = "",
    boxes: Annotated[
        bool, typer.Option("--boxes/--no-boxes", help="Tight boxes on a sheet's pictures.")
    ] = True,
    classes: Annotated[
        bool,
        typer.Option("--classes/--no-classes", help="Class and visible share of each object."),
    ] = True,
    masks: Annotated[
        bool, typer.Option("--masks/--no-masks", help="Instance masks on a sheet's pictures.")
    ] = True,
    cell_width: Annotated[
        int, typer.Option(min=64, max=2048, help="Width of a sheet's pictures, pixels.")
    ] = 480,
    json: JsonOption = False,
) -> None:
    """Renders frames of a spec, with their labels, to files or one sheet; nothing is stored."""
    from simcloud_cli.contactsheet import Overlays
    from simcloud_cli.output import console, print_json
    from simcloud_cli.previewflow import PreviewOptions, preview_spec
    from simcloud_cli.specfile import read_spec_file

    options = PreviewOptions(
        frames=range(frame, frame + frames),
        annotators=tuple(name.strip() for name in annotators.split(",") if name.strip()),
        output=output,
        sheet=sheet,
        cell_width=cell_width,
        overlays=Overlays(boxes=boxes, classes=classes, masks=masks),
    )
    written = [str(path) for path in preview_spec(read_spec_file(spec), options)]
    if json:
        print_json({"frame": frame, "frames": frames, "files": written})
        return
    for path in written:
        console().print(path, markup=False, soft_wrap=True)
