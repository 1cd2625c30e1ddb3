"""Slides scored without a store: the same scores as through one, and a ledger."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi_specdec.cli import main
from wsi_specdec.cohort import slides_from_paths
from wsi_specdec.config import RunnerConfig, ScoreConfig, StainConfig, TileConfig
from wsi_specdec.errors import ConfigError, ModelError
from wsi_specdec.runner import read_ledger
from wsi_specdec.scoring import Members, cut_for, score_stores
from wsi_specdec.stain import fit_store, merge_profiles
from wsi_specdec.steps.score import score_folder, score_slides
from wsi_specdec.store import (
    TileStore,
    find_stores,
    open_store,
    read_embeddings,
    read_scores,
    read_scores_metadata,
)
from wsi_specdec.tiling import tile_slides

MakeStore = Callable[..., TileStore]
MakeModel = Callable[..., Path]
MakeSlide = Callable[..., Path]
CONFIG = ScoreConfig(device="cpu", batch_size=16)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command line within this process; returns its exit code."""

    def run(*arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["wsi-specdec", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code if isinstance(left.value.code, int) else int(bool(left.value.code))

    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    return run


def through_a_store(
    slides: Path, model: Path, tile: TileConfig, out: Path, config: ScoreConfig
) -> dict[str, TileStore]:
    cut = cut_for(Members.of(model), tile)
    summary = tile_slides(slides_from_paths([slides]), out, cut, RunnerConfig(workers=1))
    assert summary.ok
    stores = {name: open_store(path) for name, path in find_stores(out).items()}
    score_stores(stores, model, out / "scores", config, out / "stain")
    return stores


@pytest.mark.parametrize(
    ("mpp", "tile", "score"),
    [
        (0.5, {}, {}),
        # Averaged, overlapping, some tiles left out by quality.
        (0.8, {"overlap": 8, "min_tissue": 0.3}, {"quality": {"sharpness": (None, 800)}}),
    ],
)
def test_scores_are_those_of_a_lossless_store(
    tmp_path: Path,
    make_model: MakeModel,
    make_slide: MakeSlide,
    make_store: MakeStore,
    mpp: float,
    tile: dict[str, Any],
    score: dict[str, Any],
) -> None:
    slides = make_slide("a").parent
    stain = StainConfig(method="macenko")
    target = merge_profiles([fit_store(make_store("reference", 6), stain)]).to_json()
    model = make_model(mpp=mpp, stain=stain, stain_target=target)
    cut = TileConfig(**tile, quality=bool(score))
    config = ScoreConfig(device="cpu", batch_size=16, embeddings=True, **score)
    stores = through_a_store(slides, model, cut, tmp_path / "run", config)
    out = tmp_path / "straight" / "scores"
    assert score_slides(slides, [model], out, cut, config).ok
    assert not list((tmp_path / "straight").rglob("tiles"))
    expected = read_scores(tmp_path / "run" / "scores" / "a.parquet")
    got = read_scores(out / "a.parquet")
    assert len(got) > 20
    assert (len(got) < stores["a"].n_tiles) == bool(score)
    np.testing.assert_array_equal(got[["x", "y"]], expected[["x", "y"]])
    np.testing.assert_allclose(got["logit_tumour"], expected["logit_tumour"], rtol=1e-4, atol=1e-5)
    assert np.ptp(got["logit_tumour"]) > 1e-2
    pairs = [
        read_embeddings(folder / "embeddings" / "a.zarr")
        for folder in (tmp_path / "run", tmp_path / "straight")
    ]
    np.testing.assert_allclose(pairs[0], pairs[1], rtol=2e-3, atol=1e-4)
    ours, theirs = (
        read_scores_metadata(folder / "scores" / "a.parquet")
        for folder in (tmp_path / "straight", tmp_path / "run")
    )
    for name in ("params_sha256", "slide_fingerprint", "stains", "mpp_level0"):
        assert ours[name] == theirs[name]
    for name in ("tile_size_level0_px", "stride_level0_px"):
        assert ours[name] == theirs[name]


def test_a_bad_slide_costs_itself_alone_and_the_same_call_resumes(
    tmp_path: Path, make_model: MakeModel, make_slide: MakeSlide, program: Callable[..., int]
) -> None:
    slides = make_slide("good").parent
    make_slide("glass", tissue=False)
    (slides / "broken.tif").write_bytes(b"II*\0 nothing of the kind")
    model, out = make_model(), tmp_path / "new" / "scores"
    arguments = ("score", "--slides", slides, "--model", model, "--out", out, "--device", "cpu")
    assert program(*arguments, "--quiet") == 1
    rows = {row.slide_id: row for row in read_ledger(out)}
    assert {name: row.state for name, row in rows.items()} == {
        "broken": "failed",
        "glass": "empty",
        "good": "done",
    }
    assert "broken.tif" in rows["broken"].reason
    assert rows["glass"].reason == "no tissue found"
    assert rows["good"].tiles == len(read_scores(out / "good.parquet")) > 0
    assert len(read_scores(out / "glass.parquet")) == 0
    assert not (out / "broken.parquet").exists()
    assert (out / "previews" / "good.tissue.png").is_file()
    assert "SlideReadError" in (out / "log.jsonl").read_text()
    before = (out / "good.parquet").stat().st_mtime_ns
    make_slide("broken", seed=1)
    assert program(*arguments, "--quiet") == 0
    assert (out / "good.parquet").stat().st_mtime_ns == before
    assert {row.state for row in read_ledger(out)} == {"done", "empty"}


def test_another_file_of_the_same_name_is_scored_again(
    tmp_path: Path, make_model: MakeModel, make_slide: MakeSlide
) -> None:
    slides, model, out = make_slide("a").parent, make_model(), tmp_path / "scores"
    assert score_slides(slides, [model], out, TileConfig(), CONFIG).ok
    first = read_scores(out / "a.parquet")
    make_slide("a", seed=1)
    assert score_slides(slides, [model], out, TileConfig(), CONFIG).ok
    assert not read_scores(out / "a.parquet").equals(first)
    # What cannot be had any more has no scores that could be taken for its own.
    (slides / "a.tif").write_bytes(b"II*\0")
    assert not score_slides(slides, [model], out, TileConfig(), CONFIG).ok
    assert not (out / "a.parquet").exists()


def test_a_damaged_store_costs_itself_alone(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore, program: Callable[..., int]
) -> None:
    for name in ("a", "b"):
        make_store(name, 3)
    shard = next((tmp_path / "tiles" / "a.zarr" / "tiles").glob("c/*/*/*/*"))
    shard.write_bytes(shard.read_bytes()[:50])
    out = tmp_path / "scores"
    arguments = ("score", "--tiles", tmp_path, "--model", make_model(), "--out", out, "--quiet")
    assert program(*arguments, "--device", "cpu") == 1
    assert {row.slide_id: row.state for row in read_ledger(out)} == {"a": "failed", "b": "done"}
    assert [path.name for path in out.glob("*.parquet")] == ["b.parquet"]


def test_the_result_as_json(
    tmp_path: Path,
    make_model: MakeModel,
    make_store: MakeStore,
    program: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_store("a", 3)
    models = ("--model", make_model(0, "m0"), "--model", make_model(1, "m1"))
    more = ("--symmetries", "2", "--embeddings", "--device", "cpu", "--json")
    out = tmp_path / "scores"
    assert program("score", "--tiles", tmp_path / "tiles", *models, "--out", out, *more) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tiles"] == 3
    assert found["counts"]["done"] == 1
    assert "model_2_prob_tumour" in read_scores(out / "a.parquet").columns
    assert len(read_embeddings(tmp_path / "embeddings" / "a.zarr")) == 3


@pytest.mark.parametrize("given", [(), ("--tiles", "--slides")])
def test_tiles_or_slides_but_not_both(
    tmp_path: Path,
    make_model: MakeModel,
    program: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    given: tuple[str, ...],
) -> None:
    flags = [word for name in given for word in (name, tmp_path)]
    assert program("score", "--model", make_model(), "--out", tmp_path / "out", *flags) == 2
    assert "either --tiles" in capsys.readouterr().err


def test_slides_are_cut_as_the_models_take_them(make_model: MakeModel) -> None:
    members = Members.of([make_model(0, "a", mpp=0.5), make_model(1, "b", mpp=0.51)])
    assert (cut_for(members, TileConfig()).mpp, cut_for(members, TileConfig()).tile_size) == (
        0.5,
        32,
    )
    assert cut_for(members, TileConfig(mpp=0.49)).mpp == 0.49
    with pytest.raises(ModelError, match="1 are asked for"):
        cut_for(members, TileConfig(mpp=1.0))
    far = Members.of([make_model(0, "a", mpp=0.5), make_model(1, "c", mpp=0.6)])
    with pytest.raises(ModelError, match="one resolution"):
        cut_for(far, TileConfig())
    unknown = Members.of(make_model(2, "d", mpp=None))
    assert cut_for(unknown, TileConfig()).mpp is None
    assert cut_for(unknown, TileConfig(mpp=2.0)).mpp == 2.0
    with pytest.raises(ConfigError, match="overlap"):
        cut_for(members, TileConfig(overlap=40))


def test_a_store_of_another_size_is_refused_before_any_work(
    tmp_path: Path, make_model: MakeModel, make_store: MakeStore
) -> None:
    make_store("a", 1, size=48)
    with pytest.raises(ModelError, match="48 px"):
        score_folder(tmp_path / "tiles", [make_model()], tmp_path / "scores", CONFIG)
    assert not (tmp_path / "scores").exists()
