import json
from pathlib import Path

import pytest
from image_files import save_grey
from typer.testing import CliRunner

from wsi_specdec.cli.app import make_app
from wsi_specdec.store import open_stores


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(2):
        save_grey(tmp_path / "in" / "COVID" / f"{number}.png", number)
        save_grey(tmp_path / "in" / "normal" / f"{number}.png", 5 + number)
    return tmp_path / "in"


def run(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(make_app(["pack"]), ["pack", *map(str, words)])
    return done.exit_code, done.output


def test_images_are_packed_by_the_flags(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"
    shares = ["--split", "train=0.5", "--split", "internal=0.5"]
    code, text = run(
        source, "--out", out, "--size", "16", "--classes", "normal, COVID", *shares, "--json",
        "--set", "fill=9", "-j", "1",
    )  # fmt: skip
    assert code == 0, text
    told = json.loads(text)
    assert told["classes"] == ["normal", "COVID"]
    assert told["counts"]["done"] == 4
    stores = open_stores(out)
    assert stores["COVID_0"].tile_size == 16
    # Oblong images stand between margins.
    assert (stores["COVID_0"].read([0])[0, :, 0] == 9).all()
    splits = [line.split(",")[4] for line in (out / "slides.csv").read_text().splitlines()[1:]]
    assert sorted(splits) == ["internal", "internal", "train", "train"]


def test_a_broken_image_is_named_and_shown_by_the_exit_code(tmp_path: Path, source: Path) -> None:
    (source / "COVID" / "0.png").write_bytes(b"broken")
    code, text = run(source, "--out", tmp_path / "out", "--size", "16", "-j", "1", "--quiet")
    assert code == 1
    assert "failed COVID_0:" in text


def test_a_share_needs_a_name(tmp_path: Path, source: Path) -> None:
    code, text = run(source, "--out", tmp_path / "out", "--split", "0.5")
    assert code == 2
    assert "train=0.6" in text
