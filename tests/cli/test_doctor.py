"""`doctor` tells the truth about this machine."""

import pytest

from wsi_specdec.doctor import Finding, examine


def test_everything_is_in_order_here() -> None:
    findings = {finding.check: finding for finding in examine()}
    assert [f for f in findings.values() if not f.ok] == []
    assert findings["self-test"].found.endswith("tiles written and read back")
    assert findings["readers"].found == "openslide, tiffslide, image"


def test_a_broken_codec_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("wsi_specdec.doctor.open_store", broken)
    findings = {finding.check: finding for finding in examine()}
    assert findings["self-test"] == Finding("self-test", ok=False, found="OSError: ")
