from __future__ import annotations

import pytest

from simcloud_model_container.errors import BadRequest
from simcloud_model_container.models.parameters import (
    number,
    read_custom_attributes,
    whole_number,
)

NAMES = frozenset({"score_threshold", "max_detections"})


def test_our_parameters_are_found_among_others() -> None:
    header = "trace=abc; score_threshold = 0.3;max_detections=5,b=c"
    assert read_custom_attributes(header, NAMES) == {
        "score_threshold": "0.3",
        "max_detections": "5",
    }


@pytest.mark.parametrize("header", ["", "score_threshold", "=0.3", "a;b;;", "{'json': 1}"])
def test_what_is_not_ours_is_left_alone(header: str) -> None:
    assert read_custom_attributes(header, NAMES) == {}


@pytest.mark.parametrize("value", ["high", "nan", True, None, [1], -0.1, 1.1, "inf"])
def test_a_number_out_of_range_is_refused(value: object) -> None:
    with pytest.raises(BadRequest, match="parameter p: expected a number from 0 to 1"):
        number({"p": value}, "p", default=0.5, least=0, most=1)


def test_a_missing_number_is_the_default() -> None:
    assert number({}, "p", default=0.5, least=0, most=1) == 0.5
    assert whole_number({}, "p", default=3, least=1, most=9) == 3


def test_a_whole_number_has_no_fraction() -> None:
    assert whole_number({"p": "4.0"}, "p", default=3, least=1, most=9) == 4
    with pytest.raises(BadRequest, match="whole number"):
        whole_number({"p": 4.5}, "p", default=3, least=1, most=9)
