from __future__ import annotations

import json
from pathlib import Path

import pytest

from simcloud.spec.fingerprint import CPU_LEVELS, cpu_level, make_fingerprint, this_cpu_level

V2, V3, V4 = (flags for _, flags in reversed(CPU_LEVELS))


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        (frozenset(), "x86-64-v1"),
        (V2, "x86-64-v2"),
        (V2 | V3, "x86-64-v3"),
        (V2 | V3 | V4, "x86-64-v4"),
        (V3 | V4, "x86-64-v1"),
        (V2 | V4, "x86-64-v2"),
        (V2 | V3 | (V4 - {"avx512vl"}), "x86-64-v3"),
    ],
)
def test_cpu_level_is_the_highest_whose_flags_and_those_below_are_there(
    flags: frozenset[str], level: str
) -> None:
    assert cpu_level(flags) == level


def test_cpu_level_is_read_from_the_first_cpu(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {' '.join(sorted(V2 | V3))}\n")
    assert this_cpu_level(info) == "x86-64-v3"
    assert this_cpu_level(tmp_path / "missing") == "unknown"


def test_digest_names_what_pixels_depend_on() -> None:
    versions = {"mitsuba": "3.9.1", "numpy": "2.0"}
    first = make_fingerprint(backend="mitsuba", variant="llvm_ad_rgb", versions=versions)
    again = make_fingerprint(
        backend="mitsuba", variant="llvm_ad_rgb", versions=dict(reversed(versions.items()))
    )
    assert first == again
    assert first.digest == again.digest
    assert len(first.digest) == 16
    for changed in (
        make_fingerprint(backend="isaac", variant="llvm_ad_rgb", versions=versions),
        make_fingerprint(backend="mitsuba", variant="scalar_rgb", versions=versions),
        make_fingerprint(
            backend="mitsuba", variant="llvm_ad_rgb", versions={**versions, "numpy": "2.1"}
        ),
    ):
        assert changed.digest != first.digest


def test_fingerprint_is_written_with_all_its_fields() -> None:
    content = json.loads(
        make_fingerprint(backend="mitsuba", variant="v", versions={"a": "1"}).to_json()
    )
    assert set(content) == {"backend", "variant", "versions", "cpu_level", "machine"}
    assert content["versions"] == {"a": "1"}
