from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from simcloud.rpc.settings import ServerSettings
from simcloud.settings import (
    SettingsError,
    field_docs,
    load_settings,
    settings_of,
    settings_reference,
)
from simcloud_generator.settings import GeneratorSettings
from simcloud_inference_router.settings import RouterSettings
from simcloud_uploader.settings import UploaderSettings


class _Inner(BaseModel):
    """Nested."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: int = Field(default=3, ge=1)
    """How deep, in steps."""
    path: Path | None = None
    """Where."""


class _Settings(BaseModel):
    """What the test service does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: str
    """Bucket for everything."""
    size_bytes: int = Field(default=1024, ge=1)
    """Size of a thing, bytes."""
    names: tuple[str, ...] = ("a", "b")
    """Names | labels of things,
    in order."""
    weights: dict[str, float] = {}
    """Weights by name."""
    quick: bool = False
    """Whether to hurry, 100% of the time."""
    level: Literal["low", "high"] = "low"
    """How much."""
    inner: _Inner = _Inner()
    """Ignored: nested models are shown by their fields."""
    maybe: _Inner | None = None
    """Ignored too."""


def _load(argv: list[str] | None = None, **variables: str) -> _Settings:
    environ = {f"T_{name}": value for name, value in variables.items()}
    return load_settings(_Settings, "T_", argv=argv or [], environ=environ)


def test_flags_win_over_variables_and_variables_over_defaults() -> None:
    loaded = _load(["--size-bytes", "3"], BUCKET="b", SIZE_BYTES="2", LEVEL="high")
    assert (loaded.bucket, loaded.size_bytes, loaded.level) == ("b", 3, "high")
    assert loaded.names == ("a", "b")


def test_nested_fields_have_variables_and_flags() -> None:
    loaded = _load(["--inner-depth", "7"], BUCKET="b", MAYBE__PATH="/x")
    assert loaded.inner.depth == 7
    assert loaded.maybe == _Inner(path=Path("/x"))
    assert _load(BUCKET="b").maybe is None


def test_lists_are_comma_separated_or_json_and_mappings_are_json() -> None:
    loaded = _load(BUCKET="b", NAMES="x, y,", WEIGHTS='{"x": 1}')
    assert (loaded.names, loaded.weights) == (("x", "y"), {"x": 1.0})
    assert _load(BUCKET="b", NAMES='["x,y"]').names == ("x,y",)
    assert _load(BUCKET="b", NAMES="").names == ()


def test_a_switch_is_turned_on_alone_and_off_by_a_value() -> None:
    assert _load(["--quick"], BUCKET="b").quick
    assert not _load(["--quick=false"], BUCKET="b", QUICK="1").quick


def test_a_wrong_variable_is_named_with_what_was_found() -> None:
    with pytest.raises(SettingsError) as caught:
        _load(BUCKET="b", SIZE_BYTES="0")
    assert caught.value.field == "T_SIZE_BYTES"
    assert "greater than or equal to 1, found '0'" in caught.value.problem


def test_a_wrong_flag_is_named_as_the_flag() -> None:
    with pytest.raises(SettingsError, match=r"--inner-depth: .*found 'deep'"):
        _load(["--inner-depth", "deep"], BUCKET="b")


def test_a_missing_setting_is_named_by_variable_and_flag() -> None:
    with pytest.raises(SettingsError, match=r"T_BUCKET \(--bucket\): Field required"):
        _load()


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(SettingsError, match="T_LEVEL") as caught:
        _load(BUCKET="b", LEVEL="middle", SIZE_BYTES="x")
    assert "T_SIZE_BYTES" in caught.value.message


def test_broken_json_names_the_variable() -> None:
    with pytest.raises(SettingsError, match="T_WEIGHTS: is not JSON"):
        _load(BUCKET="b", WEIGHTS="{x}")


def test_an_unknown_variable_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(SettingsError, match="T_SIZE_BYTE: is not a setting; did you mean T_SIZE_B"):
        _load(BUCKET="b", SIZE_BYTE="1")


def test_kubernetes_service_links_are_not_settings() -> None:
    links = {"SERVICE_HOST": "1", "SERVICE_PORT_GRPC": "1", "PORT": "1", "PORT_80_TCP_ADDR": "1"}
    assert _load(None, BUCKET="b", **links).bucket == "b"


def test_an_unknown_flag_ends_with_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        _load(["--sizes"], BUCKET="b")
    assert caught.value.code == 2
    assert "--sizes" in capsys.readouterr().err


def test_help_shows_every_setting_with_default_and_variable(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        _load(["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "What the test service does." in text
    assert "Size of a thing, bytes. Default: 1024. [T_SIZE_BYTES]" in text
    assert "How deep, in steps. Default: 3. [T_MAYBE__DEPTH]" in text
    assert "Whether to hurry, 100% of the time. Default: False. [T_QUICK]" in text


def test_the_reference_is_a_table_of_every_setting() -> None:
    lines = settings_reference(_Settings, env_prefix="T_").splitlines()
    assert len(lines) == 2 + len(settings_of(_Settings, env_prefix="T_")) == 2 + 10
    assert (
        "| `T_NAMES` | `--names` | `tuple[str, ...]` | `a,b` "
        "| Names \\| labels of things, in order. |" in lines
    )
    assert "| `T_BUCKET` | `--bucket` | `str` | `required` | Bucket for everything. |" in lines


def test_every_server_setting_says_what_it_is() -> None:
    for setting in settings_of(ServerSettings, env_prefix="X_"):
        assert setting.doc.endswith("."), setting.flag


def test_docs_of_a_base_class_are_inherited() -> None:
    class Extended(ServerSettings):
        """More."""

        more: int = 1
        """More of it."""

    docs = field_docs(Extended)
    assert docs["more"] == "More of it."
    assert docs["listen"].startswith("Address of the gRPC server")


@pytest.mark.parametrize("service", [GeneratorSettings, RouterSettings, UploaderSettings])
def test_what_every_server_has_is_described_once(service: type[ServerSettings]) -> None:
    common, own = field_docs(ServerSettings), field_docs(service)
    assert {name: own[name] for name in common} == common


def test_settings_are_frozen() -> None:
    loaded = _load(BUCKET="b")
    with pytest.raises(ValueError, match="frozen"):
        loaded.bucket = "c"  # type: ignore[misc]


def test_a_server_with_tls_needs_its_certificate() -> None:
    with pytest.raises(SettingsError, match=r"tls.cert and tls.key are required"):
        load_settings(ServerSettings, "S_", environ={"S_TLS__CLIENT_CA": "/ca.pem"})
    with pytest.raises(SettingsError, match="set both or neither"):
        load_settings(ServerSettings, "S_", environ={"S_TLS__CERT": "/cert.pem"})
