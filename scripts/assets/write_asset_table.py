"""Writes scenes/assets/README.md: who made each asset, from where, under which licence, how big.

    python scripts/assets/write_asset_table.py scenes/assets

Everything in the table is read from the assets themselves.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pxr import Usd, UsdSemantics

HEAD = """# Assets

Written by `scripts/assets/write_asset_table.py`; do not edit. Every asset is CC0 1.0: no
attribution is required, and here it is all the same. Each model's own licence lies beside it.

| asset | class | placement | size (m) | author | source | licence | triangles | KB |
|---|---|---|---|---|---|---|---|---|
"""

CHANGES = """
Changes to the catalogue's models: converted from OBJ to USD, scaled to the catalogue's size, turned
to the asset frame, normals computed where the file had none, textures at most 512 px, the finest
meshes simplified, one texture replaced by our own, a maker's name taken off
(`scripts/assets/furniture.py` says which).
"""

ENVIRONMENTS = """
## Environments

HDRIs by Poly Haven, CC0 1.0, from the npm package `@pmndrs/assets` 1.7.0; white-balanced and scaled
to mean radiance 1 by `scripts/assets/make_environments.py`; 512x256, half floats.

| environment | KB |
|---|---|
"""


def asset_row(path: Path) -> str:
    """One line of the table."""
    # The prim lives only as long as its stage.
    stage = Usd.Stage.Open(str(path))
    prim = stage.GetDefaultPrim()
    facts = prim.GetCustomDataByKey("simcloud")
    size = prim.GetAttribute("simcloud:size_m").Get()
    cells = [
        path.stem,
        UsdSemantics.LabelsAPI(prim, "class").GetLabelsAttr().Get()[0],
        facts["placement"],
        " x ".join(f"{length:.2f}" for length in size),
        facts["author"],
        facts["source"],
        f"[{facts['licence']}]({licence_of(path.parent).relative_to(path.parents[1])})",
        str(facts["triangles"]),
        str(kilobytes(path.parent)),
    ]
    return f"| {' | '.join(cells)} |\n"


def licence_of(folder: Path) -> Path:
    """The licence text that lies beside an asset."""
    return next(iter(sorted(folder.glob("LICENSE.*"))))


def kilobytes(folder: Path) -> int:
    """Size of a folder's files, rounded up."""
    return -(-sum(path.stat().st_size for path in folder.iterdir()) // 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("assets", type=Path, help="scenes/assets")
    assets: Path = parser.parse_args().assets
    text = HEAD + "".join(asset_row(path) for path in sorted(assets.glob("*/*.usdc")))
    text += CHANGES + ENVIRONMENTS
    for path in sorted((assets / "environments").glob("*.exr")):
        text += f"| {path.stem} | {-(-path.stat().st_size // 1024)} |\n"
    total = sum(kilobytes(folder) for folder in assets.iterdir() if folder.is_dir())
    text += f"\nAll together {total / 1024:.1f} MB.\n"
    (assets / "README.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
