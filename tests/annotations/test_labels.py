"""The coverage rule, on regions and on masks of any size."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from wsi_specdec.annotations import label_tiles, mask_blocks
from wsi_specdec.annotations.labels import _mask_shares, _table
from wsi_specdec.config import AnnotationConfig, TileConfig, make_config
from wsi_specdec.errors import ManifestError
from wsi_specdec.geometry import Box, Size

LEVEL0 = Size(400, 400)
Coords = NDArray[np.int64]
Save = Callable[..., Path]
ASAP = "<ASAP_Annotations><Annotations>{}</Annotations><AnnotationGroups/></ASAP_Annotations>"


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def asap(group: str, ring: list[list[float]]) -> str:
    corners = "".join(
        f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(ring[:-1])
    )
    return (
        f'<Annotation Name="a" Type="Polygon" PartOfGroup="{group}">'
        f"<Coordinates>{corners}</Coordinates></Annotation>"
    )


def positive(labels: NDArray[np.int16]) -> list[int]:
    return np.flatnonzero(labels == 1).tolist()


# Tile 0 is covered whole, tile 1 by half, tile 2 by a quarter, all by class "Tumor".
TUMOUR: list[tuple[str | None, Any]] = [
    ("Tumor", [square(0, 0, 100)]),
    ("Tumor", [[[100, 0], [150, 0], [150, 100], [100, 100]]]),
    ("tumor ", [square(200, 0, 50)]),
]


@pytest.mark.parametrize(
    ("min_coverage", "expected"),
    [(0.01, [0, 1, 2]), (0.25, [0, 1, 2]), (0.26, [0, 1]), (0.5, [0, 1]), (0.51, [0]), (1, [0])],
)
def test_coverage_decides(
    min_coverage: float, expected: list[int], save: Save, grid: Coords
) -> None:
    for config in (
        AnnotationConfig(min_coverage=min_coverage),
        AnnotationConfig(positive=("tumor",), min_coverage=min_coverage),
    ):
        found = label_tiles(save(TUMOUR), LEVEL0, grid, 100, config)
        assert positive(found) == expected
        assert found.dtype == np.int16
        assert set(found.tolist()) <= {0, 1}


def test_what_is_positive_unless_said_otherwise(save: Save, grid: Coords) -> None:
    names = ["Tumor", None, "Stroma", "Region*", "Ignore*", "Exclusion", "_2", "Normal", "_0"]
    corners = grid.tolist()
    path = save(
        [(name, [square(corners[i][0], corners[i][1], 100)]) for i, name in enumerate(names)]
    )
    assert positive(label_tiles(path, LEVEL0, grid, 100, AnnotationConfig())) == [0, 1, 2, 8]
    named = AnnotationConfig(positive=("STROMA", "region*"))
    assert positive(label_tiles(path, LEVEL0, grid, 100, named)) == [2, 3]
    # A name given as positive is positive, though excluded by default.
    named = AnnotationConfig(positive=("Normal",))
    assert positive(label_tiles(path, LEVEL0, grid, 100, named)) == [7]


def test_exclusions_are_cut_out_whatever_their_place_in_the_file(
    save: Save, grid: Coords, tmp_path: Path
) -> None:
    whole, hole = square(0, 0, 100), square(20, 20, 80)
    geojson = save([("Ignore*", [hole]), ("Tumor", [whole])])
    xml = tmp_path / "a.xml"
    for path, group in ((geojson, None), (xml, "_2"), (xml, "Exclusion")):
        if group is not None:
            xml.write_text(ASAP.format(asap(group, hole) + asap("_0", whole)))
        # 0.36 of the tile are left.
        for least, expected in ((0.35, [0]), (0.37, [])):
            config = AnnotationConfig(min_coverage=least)
            assert positive(label_tiles(path, LEVEL0, grid, 100, config)) == expected
        assert positive(label_tiles(path, LEVEL0, grid, 100, AnnotationConfig(exclude=()))) == [0]


def test_ignored_classes_take_tiles_out(save: Save, grid: Coords) -> None:
    path = save([*TUMOUR, ("Necrosis", [square(0, 0, 100)]), ("Necrosis", [square(100, 0, 50)])])
    config = AnnotationConfig(ignore=("necrosis",), min_coverage=0.2)
    assert label_tiles(path, LEVEL0, grid, 100, config)[:4].tolist() == [-1, 1, 1, 0]
    strict = config.model_copy(update={"max_ignored": 0.2})
    assert label_tiles(path, LEVEL0, grid, 100, strict)[:4].tolist() == [-1, -1, 1, 0]
    # Exactly as much as is allowed is used.
    lenient = config.model_copy(update={"max_ignored": 0.25})
    assert label_tiles(path, LEVEL0, grid, 100, lenient)[:4].tolist() == [-1, 1, 1, 0]


def test_the_largest_of_several_classes_wins(save: Save, grid: Coords) -> None:
    def band(x: float, width: float) -> list[list[float]]:
        return [[x, 0], [x + width, 0], [x + width, 100], [x, 100]]

    path = save(
        [
            ("Gleason 3", [band(0, 25)]),
            ("Gleason 4", [band(25, 50)]),
            ("Gleason 5", [band(75, 25)]),
            ("Gleason 3", [band(100, 50)]),
            ("Gleason 4", [band(150, 50)]),
            ("Gleason 5", [band(200, 20)]),
            ("Gleason 3", [band(320, 30)]),
            ("Gleason 5", [band(350, 30)]),
            ("Stroma", [band(380, 20)]),
        ]
    )
    config = AnnotationConfig(
        classes={"Gleason 5": 3, "Gleason 4": 2, "Gleason 3": 1}, min_coverage=0.25
    )
    # The larger; of equal ones the lower label; too little; equal again.
    assert label_tiles(path, LEVEL0, grid, 100, config)[:4].tolist() == [2, 1, 0, 1]
    # Classes that share a label add up.
    shared = AnnotationConfig(classes={"gleason 3": 7, "gleason 5": 7, "gleason 4": 2})
    assert label_tiles(path, LEVEL0, grid, 100, shared)[:4].tolist() == [2, 2, 0, 7]


def test_regions_of_one_class_do_not_count_twice(save: Save, grid: Coords) -> None:
    path = save([("Tumor", [square(0, 0, 60)])] * 3)
    assert positive(label_tiles(path, LEVEL0, grid, 100, AnnotationConfig())) == []


def test_qupath_counts_from_the_scanned_area(save: Save, grid: Coords) -> None:
    path = save([("Tumor", [square(0, 0, 100)])])
    bounds = Box(200, 100, 200, 300)
    config = AnnotationConfig()
    assert positive(label_tiles(path, LEVEL0, grid, 100, config, bounds)) == [6]
    assert positive(label_tiles(path, LEVEL0, grid, 100, config)) == [0]
    config = AnnotationConfig(geojson_origin="slide")
    assert positive(label_tiles(path, LEVEL0, grid, 100, config, bounds)) == [0]


@pytest.mark.parametrize("shuffled", [False, True])
def test_labels_keep_the_order_of_the_tiles(
    shuffled: bool, save: Save, grid: Coords, tmp_path: Path
) -> None:
    order = np.random.default_rng(0).permutation(16) if shuffled else np.arange(16)
    mask = np.zeros((400, 400), np.uint8)
    mask[200:300, 100:200] = 1
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    for path in (save([("Tumor", [square(100, 200, 100)])]), tmp_path / "m.png"):
        found = label_tiles(path, LEVEL0, grid[order], 100, AnnotationConfig())
        assert order[positive(found)].tolist() == [9]


def test_no_tiles_get_no_labels(save: Save, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), np.ones((40, 40), np.uint8))
    for path in (save(TUMOUR), tmp_path / "m.png"):
        found = label_tiles(path, LEVEL0, np.empty((0, 2), np.int64), 100, AnnotationConfig())
        assert found.shape == (0,)


def test_positive_and_classes_exclude_one_another() -> None:
    with pytest.raises(ValidationError, match="either positive or classes"):
        AnnotationConfig(positive=("1",), classes={"1": 1})


def test_values_may_be_written_as_numbers() -> None:
    config = make_config(TileConfig, {"annotations": {"classes": {3: 1, "4": 2}}}, "file")
    assert config.annotations.classes == {"3": 1, "4": 2}


# Masks


@pytest.fixture
def panda(tmp_path: Path) -> Path:
    """Values 0 to 5 in the red channel; row of tiles 0: one value a tile, background, then 1 to 3.

    Row 1: 5; half 3 and half 4; a quarter 5, a quarter 1, else 0; all 2.
    """
    mask = np.zeros((400, 400, 3), np.uint8)
    values = np.repeat(np.arange(4), 100)
    mask[:100, :, 0] = values
    mask[100:200, :100, 0] = 5
    mask[100:200, 100:150, 0] = 3
    mask[100:200, 150:200, 0] = 4
    mask[100:150, 200:250, 0] = 5
    mask[150:200, 200:250, 0] = 1
    mask[100:200, 300:, 0] = 2
    path = tmp_path / "panda_mask.tiff"
    tifffile.imwrite(path, mask, photometric="rgb", tile=(64, 64), compression="lzw")
    return path


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (AnnotationConfig(), [0, 1, 1, 1, 1, 1, 1, 1]),
        (AnnotationConfig(positive=("3", "4", "5")), [0, 0, 0, 1, 1, 1, 0, 0]),
        (AnnotationConfig(ignore=("2",)), [0, 1, -1, 1, 1, 1, 1, -1]),
        (AnnotationConfig(exclude=("2", "1")), [0, 0, 0, 1, 1, 1, 0, 0]),
        (AnnotationConfig(positive=("3", "4", "5"), ignore=("0",)), [-1, 0, 0, 1, 1, 1, 0, 0]),
        (
            AnnotationConfig(positive=("5",), ignore=("0",), max_ignored=0.4, min_coverage=0.2),
            [-1, 0, 0, 0, 1, 0, -1, 0],
        ),
        (
            AnnotationConfig(classes={"3": 1, "4": 2, "5": 3}, min_coverage=0.25),
            [0, 0, 0, 1, 3, 1, 3, 0],
        ),
        (
            AnnotationConfig(classes={"0": 4, "1": 5, "Tumor": 1}, min_coverage=0.25),
            [4, 5, 0, 0, 0, 0, 4, 0],
        ),
    ],
)
def test_values_of_a_mask(
    config: AnnotationConfig, expected: list[int], panda: Path, grid: Coords
) -> None:
    assert label_tiles(panda, LEVEL0, grid, 100, config)[:8].tolist() == expected


def test_background_can_be_named(tmp_path: Path, grid: Coords) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((400, 400), np.uint8))
    for config, label in (
        (AnnotationConfig(ignore=("0",)), -1),
        (AnnotationConfig(classes={"0": 2, "1": 1}), 2),
        (AnnotationConfig(), 0),
    ):
        found = label_tiles(tmp_path / "m.png", LEVEL0, grid, 100, config)
        assert set(found.tolist()) == {label}


def test_names_alone_cannot_read_a_mask(panda: Path, grid: Coords) -> None:
    config = AnnotationConfig(positive=("Tumor", "_0"))
    with pytest.raises(ManifestError, match=r"panda_mask\.tiff is an image.*'Tumor', '_0'"):
        label_tiles(panda, LEVEL0, grid, 100, config)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    side=st.integers(1, 60),
    scale=st.sampled_from([0.5, 1.0, 3.0, 7.3]),
    block=st.integers(3, 64),
)
def test_coverage_of_a_mask_is_exact_at_any_scale_and_block_size(
    seed: int, side: int, scale: float, block: int
) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 3, (37, 53)).astype(np.uint8)
    level0 = (53 * scale, 37 * scale)
    coords = rng.integers(-5, round(max(level0)), (20, 2))
    blocks = [
        (x, y, mask[y : y + block, x : x + block])
        for y in range(0, 37, block)
        for x in range(0, 53, block)
    ]
    opened = mask_blocks.MaskBlocks(Size(53, 37), (scale, scale), iter(blocks))
    config = AnnotationConfig(classes={"1": 1, "2": 2})
    found = _mask_shares(opened, coords, side, _table(Path("m"), config))
    for label in (1, 2):
        for (x, y), share in zip(coords.tolist(), found[label], strict=True):
            weights = [
                np.clip(
                    np.minimum(np.arange(1, n + 1) * scale, start + side)
                    - np.maximum(np.arange(n) * scale, start),
                    0,
                    None,
                )
                for start, n in ((y, 37), (x, 53))
            ]
            exact = weights[0] @ (mask == label) @ weights[1] / side**2
            assert share == pytest.approx(exact, abs=1e-9)


def test_of_a_pyramid_the_coarsest_level_that_resolves_a_tile_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    levels = [np.full((1024 >> i, 1024 >> i), value, np.uint8) for i, value in enumerate((1, 2, 3))]
    with tifffile.TiffWriter(path) as tif:
        tif.write(levels[0], tile=(256, 256), subifds=2)
        for level in levels[1:]:
            tif.write(level, tile=(256, 256), subfiletype=1)
    coords = np.array([[0, 0]])
    config = AnnotationConfig(classes={"1": 1, "2": 2, "3": 3})
    for side, expected in ((64, 1), (127, 1), (128, 2), (255, 2), (256, 3), (1024, 3), (8, 1)):
        found = label_tiles(path, Size(1024, 1024), coords, side, config)
        assert found.tolist() == [expected]


@pytest.mark.parametrize(
    "layout",
    [
        {"tile": (256, 256), "compression": "zlib"},
        {"rowsperstrip": 16, "compression": "zlib"},
        {},
    ],
    ids=["tiles", "strips", "mapped"],
)
def test_memory_does_not_grow_with_the_mask(layout: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    peaks = []
    for side in (2048, 8192):
        mask = np.zeros((side, side), np.uint8)
        mask[: side // 2] = 1
        tifffile.imwrite(path, mask, photometric="minisblack", **layout)
        del mask
        y, x = np.mgrid[0:side:512, 0:side:512]
        coords = np.stack((x.ravel(), y.ravel()), axis=1)
        tracemalloc.start()
        found = label_tiles(path, Size(side, side), coords, 512, AnnotationConfig())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.tolist() == (coords[:, 1] < side // 2).astype(int).tolist()
    # 64 MB of mask, and what is needed to read a few blocks of it.
    assert peaks[1] < 1.5 * peaks[0] + (4 << 20)
