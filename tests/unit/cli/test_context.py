"""Contexts: one file, `local` always there, secrets never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from simcloud.errors import InvalidRequest, NotFound
from simcloud_cli.context import (
    Config,
    Context,
    config_path,
    current_name,
    load_config,
    save_config,
    shown,
    with_assignments,
)


def test_the_file_is_where_the_environment_says(tmp_path: Path) -> None:
    assert config_path({"SIMCLOUD_CONFIG": "/x/y.yaml"}) == Path("/x/y.yaml")
    assert config_path({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "simcloud/config.yaml"


def test_without_a_file_there_is_the_embedded_local_context(tmp_path: Path) -> None:
    config = load_config(tmp_path / "none.yaml")
    assert config.named("local").embedded
    assert current_name(config) == "local"


def test_an_unknown_context_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there are: local"):
        load_config(tmp_path / "none.yaml").named("eks")


def test_assignments_set_nested_fields_and_survive_the_file(tmp_path: Path) -> None:
    config = with_assignments(
        Config(),
        "compose",
        [
            "generator=localhost:50051",
            "s3.endpoint_url=http://localhost:8333",
            "s3.path_style=true",
            "s3.access_key_id=0123",
            "s3.secret_access_key=hidden",
        ],
    )
    path = save_config(config, tmp_path / "sub" / "config.yaml")
    read = load_config(path).named("compose")
    assert read == config.named("compose")
    assert read.s3.path_style is True
    assert read.s3.access_key_id == "0123"
    assert read.s3.secret_access_key.get_secret_value() == "hidden"
    assert path.stat().st_mode & 0o077 == 0
    assert "hidden" not in str(shown(read))


def test_a_wrong_field_or_value_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"contexts\.x\.nonsense"):
        with_assignments(Config(), "x", ["nonsense=1"])
    with pytest.raises(InvalidRequest, match="field=value"):
        with_assignments(Config(), "x", ["bucket"])
    with pytest.raises(InvalidRequest, match="prefix"):
        with_assignments(Config(), "x", ["prefix=/leading"])


def test_a_file_that_is_no_settings_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("current: [")
    with pytest.raises(InvalidRequest, match="can't be read"):
        load_config(path)
    path.write_text("contexts: {x: {generator: 1, unknown: 2}}")
    with pytest.raises(InvalidRequest, match="contexts"):
        load_config(path)


def test_the_environment_chooses_before_the_file_and_the_option_before_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = Config(current="a")
    monkeypatch.setenv("SIMCLOUD_CONTEXT", "b")
    assert current_name(config) == "b"
    assert current_name(config, "c") == "c"
    monkeypatch.delenv("SIMCLOUD_CONTEXT")
    assert current_name(config) == "a"


def test_variables_make_a_context_and_put_it_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIMCLOUD_CONTEXT", raising=False)
    monkeypatch.setenv("SIMCLOUD_CONTEXT_UPLOADER", "uploader:50052")
    monkeypatch.setenv("SIMCLOUD_CONTEXT_BUCKET", "runs")
    monkeypatch.setenv("SIMCLOUD_CONTEXT_S3__REGION", "eu-west-1")
    monkeypatch.setenv("SIMCLOUD_CONTEXT_WAIT_FOR_SERVICES_S", "120")
    config = Config(current="eks", contexts={"eks": Context()})
    assert current_name(config) == "environment"
    assert current_name(config, "eks") == "eks"
    context = config.named("environment")
    assert (context.uploader, context.bucket) == ("uploader:50052", "runs")
    assert (context.s3.region, context.wait_for_services_s) == ("eu-west-1", 120.0)
    assert not context.embedded


def test_the_variable_of_the_name_is_no_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMCLOUD_CONTEXT", "local")
    assert current_name(Config()) == "local"
    assert set(Config().all()) == {"local"}


def test_a_mistyped_variable_is_refused_with_what_was_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIMCLOUD_CONTEXT_BUKET", "runs")
    with pytest.raises(InvalidRequest, match=r"SIMCLOUD_CONTEXT_BUKET.*SIMCLOUD_CONTEXT_BUCKET"):
        Config().named("environment")
