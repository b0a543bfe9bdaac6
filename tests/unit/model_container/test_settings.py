from __future__ import annotations

import pytest

from simcloud_model_container.errors import RefusedStart
from simcloud_model_container.settings import PREFIX, Settings, read_settings


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({"PATH": "/bin"}) == Settings()


def test_variables_win_over_defaults() -> None:
    settings = read_settings(
        {
            f"{PREFIX}PORT": "0",
            f"{PREFIX}ENDPOINTS": "a=nanodet-g, b=nanodet-g",
            f"{PREFIX}MAX_WAIT_MS": "0.5",
            f"{PREFIX}SIGV4_ACCESS_KEY_ID": "key",
            f"{PREFIX}SIGV4_SECRET_ACCESS_KEY": "secret",
        }
    )
    assert settings.port == 0
    assert settings.endpoints == {"a": "nanodet-g", "b": "nanodet-g"}
    assert settings.models() == ("nanodet-g",)
    assert settings.batching.max_wait_ms == 0.5
    assert settings.signing is not None
    assert "secret" not in repr(settings).replace("secret_access_key", "")


def test_sagemaker_s_port_is_used_unless_ours_is_set() -> None:
    assert read_settings({"SAGEMAKER_BIND_TO_PORT": "9000"}).port == 9000
    both = {"SAGEMAKER_BIND_TO_PORT": "9000", f"{PREFIX}PORT": "9001"}
    assert read_settings(both).port == 9001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "http"),
        ("WORKERS", "0"),
        ("WORKERS", "two"),
        ("MAX_WAIT_MS", "nan"),
        ("DRAIN_TIMEOUT_S", "inf"),
        ("ENDPOINTS", "a"),
        ("ENDPOINTS", "=nanodet-g"),
        ("LOG_LEVEL", "loud"),
        ("SIGV4_ACCESS_KEY_ID", "key"),
        ("WORKRES", "2"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(RefusedStart, match=PREFIX):
        read_settings({PREFIX + name: value})
