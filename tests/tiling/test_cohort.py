import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wsi_specdec.cohort import Slide
from wsi_specdec.config import RunnerConfig, TileConfig
from wsi_specdec.errors import ManifestError, SettingsMismatchError
from wsi_specdec.files import read_json
from wsi_specdec.keys import TILE_CONFIG_FILE
from wsi_specdec.runner import Task, read_ledger
from wsi_specdec.store import find_stores, open_store
from wsi_specdec.tiling import cohort, tile_slides
from wsi_specdec.tiling.cohort import threads_for
from wsi_specdec.tiling.tile import TileJob

MakeSlide = Callable[..., Path]
CONFIG = TileConfig(tile_size=128)
RUNNER = RunnerConfig(workers=1)


def slides_of(paths: Sequence[Path]) -> list[Slide]:
    return [Slide(path.stem, path, path.stem) for path in paths]


def test_bad_slides_cost_themselves_alone_and_a_second_run_does_only_what_is_missing(
    make_slide: MakeSlide, tmp_path: Path
) -> None:
    good, other = make_slide("good"), make_slide("other")
    blank = make_slide("blank", np.full((512, 512, 3), 241, np.uint8))
    dark = make_slide("dark", np.zeros((512, 512, 3), np.uint8))
    truncated = make_slide("truncated")
    whole = truncated.read_bytes()
    truncated.write_bytes(whole[: len(whole) // 2])
    text = tmp_path / "text.svs"
    text.write_text("no slide")
    gone = tmp_path / "gone.svs"
    slides = slides_of([truncated, good, text, blank, dark, gone, other])
    out = tmp_path / "out"
    (out / "tiles" / ".0123abcd.partial.good.zarr").mkdir(parents=True)

    summary = tile_slides(slides, out, CONFIG, RunnerConfig(workers=2))

    assert summary.counts == {"done": 2, "empty": 1, "failed": 3, "skipped": 1}
    assert [slide_id for slide_id, _ in summary.failures] == ["truncated", "text", "gone"]
    assert all(slide_id in reason for slide_id, reason in summary.failures)
    assert not summary.ok
    assert set(find_stores(out)) == {"good", "other", "blank", "dark"}
    assert not list((out / "tiles").glob(".*"))
    first = {row.slide_id: row for row in read_ledger(out)}
    assert first["blank"].reason == "no tissue found"
    assert "fluorescence" in first["dark"].reason
    assert (open_store(out / "tiles/good.zarr").read(0) > 0).all()
    assert (
        first["good"].params_sha256
        == open_store(out / "tiles/good.zarr").attributes["params_sha256"]
    )

    truncated.write_bytes(whole)
    before = (out / "tiles/good.zarr/zarr.json").stat().st_mtime_ns
    again = tile_slides(slides, out, CONFIG, RUNNER)
    assert again.counts == {"done": 3, "empty": 1, "failed": 2, "skipped": 1}
    assert (out / "tiles/good.zarr/zarr.json").stat().st_mtime_ns == before
    second = {row.slide_id: row for row in read_ledger(out)}
    assert second["good"] == first["good"]
    assert second["blank"] == first["blank"]
    assert (second["dark"].state, second["dark"].reason) == ("skipped", first["dark"].reason)
    assert second["truncated"].state == "done"


def test_a_folder_of_other_settings_is_refused_naming_them_unless_overwritten(
    make_slide: MakeSlide, tmp_path: Path
) -> None:
    slides, out = slides_of([make_slide("a"), make_slide("b")]), tmp_path / "out"
    tile_slides(slides, out, CONFIG, RUNNER)
    changed = CONFIG.model_copy(
        update={
            "tile_size": 64,
            "tissue": CONFIG.tissue.model_copy(update={"mask_mpp": 4.0}),
        }
    )
    with pytest.raises(SettingsMismatchError) as caught:
        tile_slides(slides, out, changed, RUNNER)
    message = str(caught.value)
    assert "tile_size: 128 -> 64" in message
    assert "tissue.mask_mpp: 8.0 -> 4.0" in message
    assert "--overwrite" in message
    assert open_store(out / "tiles/a.zarr").tile_size == 128

    tile_slides(slides[:1], out, changed, RUNNER, overwrite=True)
    assert open_store(out / "tiles/a.zarr").tile_size == 64
    # Of other settings, so it may not stay beside.
    assert set(find_stores(out)) == {"a"}
    assert read_json(out / TILE_CONFIG_FILE)["tile_size"] == 64


def test_stores_of_unknown_settings_are_never_replaced_unasked(
    make_slide: MakeSlide, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "tiles" / "a.zarr").mkdir(parents=True)
    with pytest.raises(SettingsMismatchError, match="tile_size: unset -> 128"):
        tile_slides(slides_of([make_slide("a")]), out, CONFIG, RUNNER)


def test_settings_may_change_while_there_is_nothing_to_lose(tmp_path: Path) -> None:
    out = tmp_path / "out"
    slides = slides_of([tmp_path / "gone.svs"])
    assert tile_slides(slides, out, CONFIG, RUNNER).counts["failed"] == 1
    changed = CONFIG.model_copy(update={"tile_size": 64})
    assert tile_slides(slides, out, changed, RUNNER).counts["failed"] == 1


def test_equal_ids_are_refused_before_anything_is_written(
    make_slide: MakeSlide, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError, match="two slides have the id"):
        tile_slides(slides_of([make_slide("a")] * 2), tmp_path / "out", CONFIG, RUNNER)
    assert not (tmp_path / "out").exists()


def test_jobs_name_no_file_relative_to_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may run in another folder, or on another machine."""
    handed_over: list[Task[TileJob]] = []

    def keep(_: object, tasks: Sequence[Task[TileJob]], **__: object) -> None:
        handed_over.extend(tasks)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cohort, "run_over_slides", keep)
    slide = Slide("a", Path("a.svs"), "a", tissue_mask_path=Path("m.png"))
    slide = replace(slide, annotation_path=Path("b.geojson"))
    tile_slides([slide], Path("out"), TileConfig(coords=Path("h5")), RUNNER)
    (task,) = handed_over
    job = task.payload
    assert job.out == tmp_path / "out"
    assert job.config.coords == tmp_path / "h5"
    assert job.slide.path == tmp_path / "a.svs"
    assert job.slide.tissue_mask_path == tmp_path / "m.png"
    assert job.slide.annotation_path == tmp_path / "b.geojson"


def test_cores_are_shared_among_the_slides_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert threads_for(RunnerConfig(workers=2), n_slides=10) == 4
    assert threads_for(RunnerConfig(workers=4), n_slides=1) == 8
    assert threads_for(RunnerConfig(workers=16), n_slides=100) == 1
    assert threads_for(RunnerConfig(workers=2, threads=3), n_slides=10) == 3
    assert threads_for(RunnerConfig(scheduler="tcp://host:1"), n_slides=10) == 1
