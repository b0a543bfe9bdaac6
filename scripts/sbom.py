"""What is in our images, as CycloneDX 1.6: Debian's packages and Python's distributions.

    python scripts/sbom.py [--output sbom] uploader cli ...

One file an image, `simcloud-<name>.cdx.json`, of an image that the engine has. Python's part is
written by OWASP's own tool (deploy/sbom/requirements.txt) from the metadata that the image has of
what is installed; Debian's from dpkg's. Neither keeps the archive that a package came in, so what
stands for its hash is the SHA-256 of the list that has the hashes of its installed files.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DPKG = Path("var/lib/dpkg")
FILES_SHA256 = "simcloud:installed-files:sha256"
"""Property: SHA-256 of the file that lists what is installed, each with its hash."""

_METADATA = (
    "cd / && find var/lib/dpkg/status var/lib/dpkg/info/*.md5sums usr/share/doc/*/copyright"
    " usr/lib/os-release $(find opt usr/local/lib usr/local/share -name '*.dist-info')"
    " -type f 2>/dev/null | tar -chf - -T -"
)
_LICENSE = re.compile(r"^License:[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_VALID = (
    "import sys; from cyclonedx.schema import SchemaVersion;"
    "from cyclonedx.validation.json import JsonStrictValidator;"
    "found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read());"
    "sys.exit(None if found is None else str(found))"
)
Component = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Image:
    """What the engine says of an image."""

    name: str
    version: str
    identity: str
    """Its id, `sha256:…`."""
    revision: str


def inspected(name: str) -> Image:
    """One of our images.

    Raises:
        subprocess.CalledProcessError: there is no such image, or no engine.
    """
    shown = json.loads(_run(["docker", "image", "inspect", _reference(name)]))[0]
    labels = shown["Config"]["Labels"]
    return Image(
        name=labels["org.opencontainers.image.title"],
        version=labels["org.opencontainers.image.version"],
        identity=shown["Id"],
        revision=labels["org.opencontainers.image.revision"],
    )


def copy_metadata(name: str, folder: Path) -> None:
    """Writes what an image knows of its packages, and nothing else of it, to a folder."""
    command = ["docker", "run", "--rm", "--network=none", "--read-only", "--user=10001:10001"]
    packed = _run([*command, "--entrypoint=sh", _reference(name), "-c", _METADATA])
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")


def debian_components(folder: Path) -> Iterator[Component]:
    """Debian's packages that are installed, by dpkg's status."""
    text = (folder / "usr/lib/os-release").read_text(encoding="utf-8")
    release = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    distro = "-".join(release[key].strip('"') for key in ("ID", "VERSION_ID"))
    for stanza in (folder / DPKG / "status").read_text(encoding="utf-8").strip().split("\n\n"):
        fields = HeaderParser().parsestr(stanza)
        if not fields["Status"].endswith(" installed"):
            continue
        name, version, arch = fields["Package"], fields["Version"], fields["Architecture"]
        purl = f"pkg:deb/debian/{name.replace('+', '%2B')}@{version.replace('+', '%2B')}"
        component: Component = {
            "bom-ref": f"deb:{name}:{arch}",
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"{purl}?arch={arch}&distro={distro}",
        }
        if licenses := _debian_licenses(folder, name):
            component["licenses"] = [{"license": {"name": each}} for each in licenses]
        for listed in (f"{name}.md5sums", f"{name}:{arch}.md5sums"):
            if (folder / DPKG / "info" / listed).is_file():
                component["properties"] = [_files_sha256(folder / DPKG / "info" / listed)]
        yield component


def _debian_licenses(folder: Path, name: str) -> list[str]:
    path = folder / "usr/share/doc" / name / "copyright"
    if not path.is_file():
        return []
    return sorted(set(_LICENSE.findall(path.read_text(encoding="utf-8", errors="replace"))))


def python_bom(folder: Path, tool: Path, work: Path) -> dict[str, Any]:
    """The document of Python's distributions.

    Args:
        folder: with the metadata.
        tool: Python of the environment that has cyclonedx-bom.
        work: an empty folder.
    """
    venv.create(work, symlinks=True)
    (packages,) = work.glob("lib/python*/site-packages")
    records = {}
    for path in sorted(folder.rglob("*.dist-info")):
        (packages / path.name).symlink_to(path)
        if (path / "RECORD").is_file():
            records[_normal(path.name.partition("-")[0])] = _files_sha256(path / "RECORD")
    # The whole document is checked once, when it is whole.
    options = ["--output-reproducible", "--no-validate", "--spec-version=1.6"]
    command = [str(tool), "-m", "cyclonedx_py", "environment", "--output-format=JSON", *options]
    command.append(str(work / "bin/python"))
    bom: dict[str, Any] = json.loads(_run(command))
    for component in bom.get("components", []):
        if record := records.get(_normal(component["name"])):
            component.setdefault("properties", []).append(record)
    return bom


def document(image: Image, folder: Path, tool: Path, work: Path) -> dict[str, Any]:
    """The whole document of an image; as ``python_bom``."""
    bom = python_bom(folder, tool, work)
    bom["metadata"]["component"] = {
        "bom-ref": "image",
        "type": "container",
        "name": image.name,
        "version": image.version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "properties": [
            {"name": "simcloud:image:id", "value": image.identity},
            {"name": "simcloud:image:revision", "value": image.revision},
        ],
    }
    installed = bom.setdefault("components", [])
    roots = [each["bom-ref"] for each in installed]
    installed += sorted(debian_components(folder), key=lambda each: str(each["bom-ref"]))
    known = {each["ref"] for each in bom.setdefault("dependencies", [])}
    bom["dependencies"] += [
        {"ref": each["bom-ref"]} for each in installed if each["bom-ref"] not in known
    ]
    bom["dependencies"].append({"ref": "image", "dependsOn": sorted(roots)})
    return bom


def checked(bom: dict[str, Any], tool: Path) -> str:
    """The document as text, once OWASP's schema has nothing against it.

    Raises:
        subprocess.CalledProcessError: it has; what, is on standard error.
    """
    text = json.dumps(bom, indent=1, sort_keys=True) + "\n"
    _run([str(tool), "-c", _VALID], text.encode())
    return text


def _files_sha256(path: Path) -> dict[str, str]:
    return {"name": FILES_SHA256, "value": hashlib.sha256(path.read_bytes()).hexdigest()}


def _normal(name: str) -> str:
    """PEP 503's form of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _reference(name: str) -> str:
    prefix = os.environ.get("SIMCLOUD_IMAGE_PREFIX", "simcloud-")
    return f"{prefix}{name}:{os.environ.get('SIMCLOUD_IMAGE_TAG', 'dev')}"


def _run(command: list[str], content: bytes = b"") -> bytes:
    done = subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True)
    return done.stdout


def main(arguments: list[str]) -> None:
    """Writes the documents and says where."""
    parser = argparse.ArgumentParser(description="What is in our images, as CycloneDX 1.6.")
    parser.add_argument("--output", type=Path, default=ROOT / "sbom", help="folder to write to")
    parser.add_argument("names", nargs="+", help="images, as compose calls them: uploader, cli, …")
    chosen = parser.parse_args(arguments)
    environment = [sys.executable, str(ROOT / "scripts" / "tool-env"), "deploy/sbom"]
    tool = Path(_run(environment).decode().strip())
    chosen.output.mkdir(parents=True, exist_ok=True)
    for name in chosen.names:
        with tempfile.TemporaryDirectory() as scratch:
            copy_metadata(name, Path(scratch, "metadata"))
            image = inspected(name)
            bom = document(image, Path(scratch, "metadata"), tool, Path(scratch, "environment"))
        path = chosen.output / f"{image.name}.cdx.json"
        path.write_text(checked(bom, tool), encoding="utf-8")
        sys.stdout.write(f"{path}: {len(bom['components'])} components\n")


if __name__ == "__main__":
    main(sys.argv[1:])
