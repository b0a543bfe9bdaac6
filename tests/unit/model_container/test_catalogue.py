from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from simcloud_model_container.catalogue import PACKAGED_WEIGHTS, read_catalogue
from simcloud_model_container.errors import RefusedStart
from simcloud_model_container.models import make_family


def test_the_packaged_files_are_those_that_are_described() -> None:
    catalogue = read_catalogue(PACKAGED_WEIGHTS)
    assert {name: len(model.read_labels()) for name, model in catalogue.items()} == {
        "nanodet-g": 80,
        "efficientnet-lite0": 1000,
    }
    for model in catalogue.values():
        assert len(model.read_weights()) <= 10_000_000


def test_the_described_network_inputs_are_those_of_the_family() -> None:
    for model in read_catalogue(PACKAGED_WEIGHTS).values():
        family = make_family(model.family, model.read_labels())
        shapes = {tensor.name: tensor.shape for tensor in model.inputs}
        assert shapes == {"image": (-1, -1, -1, 3), "input": (-1, *family.input_shape)}


def test_another_file_than_the_described_one_is_refused(tmp_path: Path) -> None:
    shutil.copy(PACKAGED_WEIGHTS / "models.toml", tmp_path)
    (tmp_path / "coco80.txt").write_text("person\n")
    model = read_catalogue(tmp_path)["nanodet-g"]
    with pytest.raises(RefusedStart, match="SHA-256"):
        model.read_labels()
    with pytest.raises(RefusedStart, match="can't be read"):
        model.read_weights()


@pytest.mark.parametrize("text", ["models = 3", "[models.a]\nfamily = 'nanodet'", "[["])
def test_a_malformed_description_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(RefusedStart, match="not a description of models"):
        read_catalogue(tmp_path)


def test_a_folder_without_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedStart, match="weights_folder"):
        read_catalogue(tmp_path)


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(RefusedStart, match="family 'yolo' is unknown"):
        make_family("yolo", ["a"])
