"""Attribution: what a known network goes by, its share in a mask, and its interval."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from wsi_specdec.config import EvaluateConfig
from wsi_specdec.errors import ModelError
from wsi_specdec.models import ModelSpec, Predictor, build_classifier, load_model, save_model
from wsi_specdec.studies.radiographs.attribution import (
    Explained,
    Shown,
    attribute,
    estimate_mean,
    outside_share,
    summarise,
)

SIZE = 32
CONFIG = EvaluateConfig(bootstrap=200)
HALF = (0.5, 0.5, 0.5)


def saved_model(folder: Path, classes: tuple[str, ...] = ("normal", "COVID")) -> Path:
    spec = ModelSpec(arch="test_resnet", classes=classes, tile_size=SIZE, mean=HALF, std=HALF)
    torch.manual_seed(0)
    save_model(folder, build_classifier(spec), spec)
    return folder


def test_attribution_sums_to_the_difference_of_logits(tmp_path: Path) -> None:
    pytest.importorskip("captum")
    folder = saved_model(tmp_path / "model")
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (10, SIZE, SIZE, 3), np.uint8)
    baseline = np.full((SIZE, SIZE, 3), 128, np.float32)
    given = attribute(folder, tiles, baseline, steps=64)
    module, spec = load_model(folder, "cpu")
    both = np.concatenate([tiles, baseline[None].astype(np.uint8)])
    logits = Predictor(module, spec)(torch.from_numpy(both)).logits[:, 0].numpy()
    assert given.shape == (10, SIZE, SIZE)
    assert_allclose(given.sum(axis=(1, 2)), logits[:-1] - logits[-1], atol=0.02)
    # An image like the baseline has nothing to share out.
    assert_allclose(attribute(folder, both[-1:], baseline, steps=4), 0, atol=1e-6)


def test_models_of_several_logits_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("captum")
    folder = saved_model(tmp_path / "model", ("a", "b", "c"))
    with pytest.raises(ModelError, match="several logits"):
        attribute(
            folder, np.zeros((1, SIZE, SIZE, 3), np.uint8), np.zeros((SIZE, SIZE, 3), np.float32), 2
        )


def test_share_outside_counts_both_signs() -> None:
    maps = np.array([[[1.0, -1.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])
    mask = np.array([[[True, False], [False, True]], [[True, False], [False, False]]])
    # The second image has no attribution, and counts as one whose is spread evenly.
    assert_allclose(outside_share(maps, mask), [0.25, 0.75])


def test_estimate_is_the_mean_over_seeds_and_images() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(0.3, 0.7, (5, 60))
    patients = np.repeat(np.arange(30), 2)
    found = estimate_mean(values, patients, CONFIG)
    assert found.value == pytest.approx(values.mean())
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert found.p is None


def test_interval_goes_by_patients_not_images() -> None:
    rng = np.random.default_rng(0)
    of_patient = rng.uniform(0, 1, 12)
    values = np.repeat(of_patient, 10)[None]
    alone = estimate_mean(values, np.arange(120), CONFIG)
    grouped = estimate_mean(values, np.repeat(np.arange(12), 10), CONFIG)
    assert alone.value == pytest.approx(grouped.value)
    assert alone.low is not None
    assert alone.high is not None
    assert grouped.low is not None
    assert grouped.high is not None
    # Ten images of a patient that are alike say no more than one: √10 times as wide.
    assert (grouped.high - grouped.low) > 2 * (alone.high - alone.low)


def shown(found: list[bool]) -> Shown:
    count = len(found)
    mask = np.zeros((count, 2, 2), np.bool_)
    mask[:, 0] = True
    rows = np.arange(count)
    return Shown("external", 1, Path("set"), rows, mask, np.array(found), rows)


def test_arms_are_compared_on_images_whose_fields_were_found() -> None:
    rng = np.random.default_rng(1)
    first = shown([True] * 20 + [False])
    base = rng.uniform(0.4, 0.6, (2, 21))
    base[:, -1] = 100
    less = base - 0.1 + rng.normal(0, 0.01, base.shape)
    by_arm = {
        name: [Explained({}, {"external:1": row}) for row in rows]
        for name, rows in {"wd": base, "sd": less}.items()
    }
    found = summarise(by_arm, {"wd": [first], "sd": [first]}, [("sd", "wd")], CONFIG)
    (wd, sd), (difference,) = found["shares"], found["differences"]
    assert wd["value"] == pytest.approx(base[:, :-1].mean())
    assert (wd["images"], wd["area_outside"]) == (20, 0.5)
    assert difference["value"] == pytest.approx(sd["value"] - wd["value"])
    assert difference["high"] < 0
    assert difference["p_holm"] < 0.05
