"""A kill leaves the old file or the new one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wsi_specdec.errors import ConfigError
from wsi_specdec.files import (
    atomic_path,
    fingerprint,
    pipeline_file,
    read_json,
    remove_partials,
    sha256_of,
    write_json,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "store.zarr"
    for content in ("old", "new"):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert [p.name for p in target.iterdir()] == ["new"]


def test_what_a_killed_writer_left_is_removed_on_the_next_run(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from wsi_specdec.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as t:\n"
        "    t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "a.txt"
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 1
    remove_partials(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_json_refuses_what_json_lacks(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"mpp": 0.25, "name": "µm"})
    assert read_json(tmp_path / "a.json") == {"mpp": 0.25, "name": "µm"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"auc": float("nan")})
    assert read_json(tmp_path / "a.json")["mpp"] == 0.25


def test_the_hash_does_not_depend_on_key_order() -> None:
    assert sha256_of({"a": 1, "b": [2]}) == sha256_of({"b": [2], "a": 1})
    assert sha256_of({"a": 1}) != sha256_of({"a": 2})


def test_the_fingerprint_sees_size_and_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "slide"
    data = bytearray(5 << 20)
    seen = set()
    for position in (None, 0, len(data) - 1):
        if position is not None:
            data[position] ^= 1
        path.write_bytes(data)
        seen.add(fingerprint(path))
    path.write_bytes(data + b"x")
    seen.add(fingerprint(path))
    assert len(seen) == 4
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    before = fingerprint(path, full=True)
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert fingerprint(path, full=True) != before


def test_an_unknown_pipeline_lists_those_there_are() -> None:
    assert pipeline_file("demo").name == "demo.yaml"
    with pytest.raises(ConfigError, match="process_folder"):
        pipeline_file("none")
