import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi_specdec.errors import ModelError
from wsi_specdec.models import ModelSpec, check_fits, load_spec, model_sha256
from wsi_specdec.models.spec import write_spec
from wsi_specdec.store import TileStore

MakeSpec = Callable[..., ModelSpec]
MakeStore = Callable[..., TileStore]


def test_two_classes_have_one_output_and_score_the_second(make_spec: MakeSpec) -> None:
    two = make_spec()
    three = make_spec(classes=("normal", "benign", "malignant"))
    assert (two.n_outputs, two.score_names) == (1, ("tumour",))
    assert (three.n_outputs, three.score_names) == (3, ("normal", "benign", "malignant"))


def test_a_spec_survives_its_file(tmp_path: Path, make_spec: MakeSpec) -> None:
    spec = make_spec(arch_args={"drop_rate": 0.1}, temperature=1.7, training={"seed": 3})
    write_spec(tmp_path, spec, "ab")
    assert load_spec(tmp_path) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "cannot be read"),
        ('{"schema_version": 9, "weights_sha256": ""}', "schema version 9"),
        ('{"schema_version": 1, "weights_sha256": "", "archh": 1}', "model.json: arch"),
    ],
)
def test_a_damaged_description_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        load_spec(tmp_path)
    assert str(tmp_path / "model.json") in str(caught.value)


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model in"):
        load_spec(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 2.0},
        {"mean": (0.1, 0.4, 0.3)},
        {"stain_target": {"a": 1}},
        {"arch_args": {"a": 1}},
    ],
)
def test_the_model_hash_covers_what_shapes_scores(
    tmp_path: Path, make_spec: MakeSpec, change: dict[str, Any]
) -> None:
    write_spec(tmp_path, make_spec(), "ab")
    before = model_sha256(tmp_path)
    write_spec(tmp_path, make_spec(**change), "ab")
    assert model_sha256(tmp_path) != before
    write_spec(tmp_path, make_spec(), "cd")
    assert model_sha256(tmp_path) != before
    write_spec(tmp_path, make_spec(training={"created": "now"}), "ab")
    assert model_sha256(tmp_path) == before


def test_the_description_names_its_weights_and_version(tmp_path: Path, make_spec: MakeSpec) -> None:
    write_spec(tmp_path, make_spec(), "ab")
    values = json.loads((tmp_path / "model.json").read_text())
    assert (values["schema_version"], values["weights_sha256"]) == (1, "ab")


@pytest.mark.parametrize(
    ("size", "mpp", "fits"),
    [
        (32, 0.5, True),
        (32, 0.524, True),
        (32, 0.476, True),
        (32, None, True),
        (32, 0.53, False),
        (32, 0.47, False),
        (33, 0.5, False),
    ],
)
def test_tiles_must_be_of_the_models_size_and_resolution(
    make_spec: MakeSpec, make_store: MakeStore, size: int, mpp: float | None, fits: bool
) -> None:
    store = make_store("s", np.zeros((1, size, size, 3), np.uint8), mpp)
    if fits:
        check_fits(make_spec(), store, "model")
        return
    with pytest.raises(ModelError, match="the model M takes tiles of") as caught:
        check_fits(make_spec(), store, "the model M")
    assert str(store.path) in str(caught.value)
