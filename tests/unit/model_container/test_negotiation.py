from __future__ import annotations

import pytest

from simcloud_model_container.errors import NotAcceptable
from simcloud_model_container.negotiation import answer_type, media_type
from simcloud_model_container.tensor_codec import BINARY_TYPE, JSON_TYPE


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON_TYPE),
        ("*/*", JSON_TYPE),
        ("application/*", JSON_TYPE),
        ("text/csv, */*;q=0.1", JSON_TYPE),
        ("Application/JSON; charset=utf-8", JSON_TYPE),
        (BINARY_TYPE, BINARY_TYPE),
        (f"{BINARY_TYPE};json-header-size=3", BINARY_TYPE),
        (f"*/*, {BINARY_TYPE}", BINARY_TYPE),
        (f"{BINARY_TYPE};q=0, application/json", JSON_TYPE),
    ],
)
def test_the_answer_s_type_is_the_first_accepted_one(accept: str, expected: str) -> None:
    assert answer_type(accept) == expected


@pytest.mark.parametrize("accept", ["text/csv", "image/*", "application/json;q=0", "*/*; q=0.0"])
def test_what_is_not_there_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="answers are"):
        answer_type(accept)


def test_a_media_type_has_no_parameters_and_no_case() -> None:
    assert media_type(" Image/PNG ; a=b") == "image/png"
