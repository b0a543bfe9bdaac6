"""`simcloud router`: what is refused before anything is asked."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from simcloud_cli.app import app


@pytest.mark.parametrize("weight", ["-1", "-0.5", "nan", "inf"])
def test_a_weight_that_is_none_is_told_what_one_is(weight: str) -> None:
    result = CliRunner().invoke(app, ["router", "weight", "det", weight])
    assert result.exit_code == 2
    assert f"must be 0 or more, found {weight}" in result.output
