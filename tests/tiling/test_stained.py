"""Stains normalised while tiling: the same pixels as normalising what was tiled."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from stained_images import stained, target_by

from wsi_specdec.cohort import Slide
from wsi_specdec.config import (
    ArmConfig,
    PipelineConfig,
    RunnerConfig,
    StainConfig,
    TileConfig,
    TrainConfig,
    make_config,
)
from wsi_specdec.errors import ConfigError, SettingsMismatchError
from wsi_specdec.files import read_json, write_json
from wsi_specdec.runner import read_ledger
from wsi_specdec.stain import (
    StainProfile,
    TileStatus,
    fit_store,
    normalise,
    normalise_each,
    profile_path,
)
from wsi_specdec.stain.target import StainTarget, applied_target, read_target, write_target
from wsi_specdec.store import TileStore, open_store
from wsi_specdec.tiling import tile_slides
from wsi_specdec.tiling.tile import TileJob, params_of, tile_slide

Image = NDArray[np.uint8]
MakeSlide = Callable[..., Path]
MACENKO = StainConfig(method="macenko", max_pixels=20_000, max_tiles=12)
GLASS = (242, 241, 243)
CMU = Path(__file__).parents[1] / "data" / "CMU-1-Small-Region.svs"


def slide_image(tissue: Image | None = None) -> Image:
    """Glass with one rectangle of tissue: x from 256 to 768, y from 128 to 640."""
    image = np.full((768, 1024, 3), GLASS, np.uint8)
    image[128:640, 256:768] = stained((512, 512), block=4) if tissue is None else tissue
    return image


def config_of(target: Path, stain: StainConfig = MACENKO, **settings: Any) -> TileConfig:  # noqa: ANN401
    values = {"tile_size": 64, "codec": "lossless", "stain": stain, "stain_target": target}
    return make_config(TileConfig, values | settings, "test")


def tiled(path: Path, out: Path, config: TileConfig, threads: int = 2) -> TileStore:
    slide = Slide(path.stem, path, path.stem)
    job = TileJob(slide, out, config, params_of(slide, config), {}, threads=threads)
    tile_slide(job)
    return open_store(job.store_path)


def pixels_of(store: TileStore) -> Image:
    return store.read(np.arange(store.n_tiles))


@pytest.fixture
def slide(make_aperio: MakeSlide) -> Path:
    return make_aperio(images=[slide_image()])


@pytest.fixture
def target_file(tmp_path: Path) -> Path:
    path = tmp_path / "target.json"
    write_target(path, target_by(MACENKO), {})
    return path


@pytest.mark.parametrize("method", ["macenko", "vahadane", "reinhard"])
@pytest.mark.parametrize(
    "settings", [{}, {"overlap": 16}, {"mpp": 0.75}, {"pixel_path": "read_region"}]
)
def test_tiles_are_those_of_a_store_normalised_by_its_own_profile(
    slide: Path,
    tmp_path: Path,
    method: str,
    settings: dict[str, Any],
) -> None:
    stain = MACENKO.model_copy(update={"method": method})
    target = target_by(stain)
    write_target(tmp_path / "t.json", target, {})
    done = tiled(slide, tmp_path / "done", config_of(tmp_path / "t.json", stain, **settings))
    plain_config = TileConfig(tile_size=64, codec="lossless", **settings)
    plain = tiled(slide, tmp_path / "plain", plain_config)
    profile = fit_store(plain, stain)
    assert profile.status == "ok"
    expected = normalise(pixels_of(plain), profile, target.profile)
    assert np.array_equal(pixels_of(done), expected)
    assert np.abs(expected.astype(int) - pixels_of(plain)).mean() > 3
    assert np.array_equal(done.coords, plain.coords)
    kept = read_json(profile_path(tmp_path / "done" / "stain", "a", stain))
    assert StainProfile.from_json(kept["profile"]) == profile
    assert applied_target(done.attributes) == target
    applied = done.attributes["stain_applied"]
    assert (applied["method"], applied["status"]) == (method, "normalised")
    assert applied["target_sha256"] == target.sha256
    assert plain.attributes["stain_applied"] == "none"
    assert set(done.quality["stain_status"].tolist()) <= {0.0, 1.0}


def test_threads_and_their_number_change_nothing(
    slide: Path, tmp_path: Path, target_file: Path
) -> None:
    one = tiled(slide, tmp_path / "one", config_of(target_file), threads=1)
    four = tiled(slide, tmp_path / "four", config_of(target_file), threads=4)
    assert np.array_equal(pixels_of(one), pixels_of(four))
    assert np.array_equal(one.quality["stain_status"], four.quality["stain_status"])


def test_in_a_jpeg_store_they_differ_by_the_encoders_loss(
    tmp_path: Path, target_file: Path
) -> None:
    """On real tissue: encoded after normalising, or before, each loses what JPEG takes, once."""
    plain_settings: dict[str, Any] = {"tile_size": 128, "pixel_path": "decode", "min_tissue": 0.9}
    stores = {}
    for codec in ("jpeg", "lossless"):
        settings = {**plain_settings, "codec": codec}
        plain = make_config(TileConfig, settings, "test")
        stores[codec, "plain"] = tiled(CMU, tmp_path / codec, plain)
        done = config_of(target_file, **settings)
        stores[codec, "done"] = tiled(CMU, tmp_path / f"{codec}-done", done)
    found = {key: pixels_of(store).astype(int) for key, store in stores.items()}
    profile = fit_store(stores["jpeg", "plain"], MACENKO)
    assert profile.status == "ok"
    reached = read_target(target_file).profile
    on_the_fly = normalise(pixels_of(stores["jpeg", "plain"]), profile, reached)
    apart = np.abs(found["jpeg", "done"] - on_the_fly)
    losses = [
        np.abs(found["jpeg", how] - found["lossless", how]).mean() for how in ("plain", "done")
    ]
    assert apart.mean() < min(3, sum(losses))
    assert np.quantile(apart, 0.99) <= 13
    assert np.abs(found["jpeg", "done"] - found["jpeg", "plain"]).mean() > 10


def test_normalised_tiles_are_never_copied(slide: Path, tmp_path: Path, target_file: Path) -> None:
    store = tiled(slide, tmp_path / "out", config_of(target_file, codec="jpeg"))
    assert store.attributes["pixel_path"] == "decode"
    assert "normalised" in store.attributes["pixel_path_reason"]
    with pytest.raises(ConfigError, match="passthrough copies tiles as they are"):
        config_of(target_file, pixel_path="passthrough")


def test_quality_is_that_of_the_slides_own_pixels(
    slide: Path, tmp_path: Path, target_file: Path
) -> None:
    plain = tiled(slide, tmp_path / "plain", TileConfig(tile_size=64, quality=True))
    done = tiled(slide, tmp_path / "done", config_of(target_file, quality=True))
    assert set(done.quality) == {*plain.quality, "stain_status"}
    for name, values in plain.quality.items():
        assert np.array_equal(done.quality[name], values)


def test_a_slide_without_a_usable_profile_keeps_its_pixels_and_says_so(
    make_aperio: MakeSlide, tmp_path: Path, target_file: Path
) -> None:
    one_colour = np.array((170, 90, 160), np.uint8)
    path, out = make_aperio(images=[slide_image(one_colour)]), tmp_path / "out"
    slides, runner = [Slide("a", path, "a")], RunnerConfig(workers=1)
    assert tile_slides(slides, out, config_of(target_file), runner).ok
    (row,) = read_ledger(out)
    assert row.state == "done"
    assert "stains are not normalised: degenerate" in row.reason
    store = open_store(out / "tiles" / "a.zarr")
    assert store.attributes["warnings"] == [row.reason]
    assert store.attributes["stain_applied"]["status"] == "degenerate"
    assert set(store.quality["stain_status"].tolist()) == {float(TileStatus.DEGENERATE)}
    plain = tiled(path, tmp_path / "plain", TileConfig(tile_size=64, codec="lossless"))
    assert np.array_equal(pixels_of(store), pixels_of(plain))
    with pytest.raises(SettingsMismatchError, match=r"stain\.method: macenko -> none"):
        tile_slides(slides, out, TileConfig(tile_size=64, codec="lossless"), runner)


def test_each_tile_can_be_fitted_by_itself(slide: Path, tmp_path: Path) -> None:
    stain = MACENKO.model_copy(update={"fit": "tile"})
    target = target_by(stain)
    write_target(tmp_path / "t.json", target, {})
    done = tiled(slide, tmp_path / "done", config_of(tmp_path / "t.json", stain))
    plain = tiled(slide, tmp_path / "plain", TileConfig(tile_size=64, codec="lossless"))
    expected, statuses = normalise_each(pixels_of(plain), target.profile, stain)
    assert np.array_equal(pixels_of(done), expected)
    assert np.array_equal(done.quality["stain_status"], statuses)
    assert done.attributes["stain_applied"]["status"] == "each_tile"
    assert not (tmp_path / "done" / "stain").exists()


def test_a_slide_without_tiles_is_empty_as_ever(
    make_aperio: MakeSlide, tmp_path: Path, target_file: Path
) -> None:
    path = make_aperio(images=[np.full((256, 256, 3), GLASS, np.uint8)])
    store = tiled(path, tmp_path / "out", config_of(target_file))
    assert store.n_tiles == 0
    assert store.attributes["reason"] == "no tissue found"
    assert len(store.quality["stain_status"]) == 0


def test_the_target_counts_not_where_its_file_lies(tmp_path: Path, target_file: Path) -> None:
    slide = Slide("a", tmp_path / "a.svs", "a")
    elsewhere = tmp_path / "other.json"
    write_target(elsewhere, target_by(MACENKO), {"fitted": "on another day"})
    first = params_of(slide, config_of(target_file))
    assert params_of(slide, config_of(elsewhere)) == first
    changed = target_by(MACENKO)
    profile = StainProfile.from_json(changed.profile.to_json() | {"max_concentrations": (2, 1)})
    write_target(elsewhere, StainTarget(profile, MACENKO), {})
    assert params_of(slide, config_of(elsewhere)) != first


def test_without_normalisation_its_settings_make_no_store_anew(tmp_path: Path) -> None:
    slide = Slide("a", tmp_path / "a.svs", "a")
    changed = TileConfig(stain=StainConfig(seed=5))
    assert params_of(slide, changed) == params_of(slide, TileConfig())


def test_a_target_that_cannot_be_used_is_refused_before_anything_is_touched(
    slide: Path, tmp_path: Path, target_file: Path
) -> None:
    slides, out = [Slide("a", slide, "a")], tmp_path / "out"
    runner = RunnerConfig(workers=1)
    other = MACENKO.model_copy(update={"angle_percentile": 5.0})
    with pytest.raises(ConfigError, match=r"stain\.angle_percentile: 1\.0 -> 5\.0"):
        tile_slides(slides, out, config_of(target_file, other), runner)
    with pytest.raises(ConfigError, match="stain fit"):
        tile_slides(slides, out, config_of(tmp_path / "absent.json"), runner)
    write_json(tmp_path / "no.json", {"profile": 3})
    with pytest.raises(ConfigError, match=r"no\.json"):
        tile_slides(slides, out, config_of(tmp_path / "no.json"), runner)
    unusable = StainProfile.from_json(
        target_by(MACENKO).profile.to_json() | {"status": "degenerate"}
    )
    write_target(tmp_path / "no.json", StainTarget(unusable, MACENKO), {})
    with pytest.raises(ConfigError, match="degenerate"):
        tile_slides(slides, out, config_of(tmp_path / "no.json"), runner)
    assert not out.exists()


def test_method_and_target_belong_together(target_file: Path) -> None:
    with pytest.raises(ConfigError, match="belong together"):
        make_config(TileConfig, {"stain": {"method": "macenko"}}, "test")
    with pytest.raises(ConfigError, match="belong together"):
        make_config(TileConfig, {"stain_target": target_file}, "test")


def test_a_pipeline_normalises_once(target_file: Path) -> None:
    arm = ArmConfig(name="macenko", stain="macenko", stain_fit="tile")
    fitted = arm.apply(TrainConfig(), 0).stain
    assert (fitted.method, fitted.fit) == ("macenko", "tile")
    assert PipelineConfig(arms=(arm,)).arms == (arm,)
    with pytest.raises(ValidationError, match="normalised as tiles are written"):
        PipelineConfig(arms=(arm,), tile=config_of(target_file))


def test_a_second_run_keeps_what_is_there_unless_the_target_is_another(
    slide: Path, tmp_path: Path, target_file: Path
) -> None:
    store = tiled(slide, tmp_path / "out", config_of(target_file))
    file = store.path / "zarr.json"
    made, pixels = file.stat().st_mtime_ns, pixels_of(store)
    tiled(slide, tmp_path / "out", config_of(target_file))
    assert file.stat().st_mtime_ns == made
    weaker = target_by(MACENKO).profile.to_json() | {"max_concentrations": (0.9, 0.6)}
    write_target(target_file, StainTarget(StainProfile.from_json(weaker), MACENKO), {})
    again = tiled(slide, tmp_path / "out", config_of(target_file))
    assert (pixels_of(again) != pixels).mean() > 0.9
