"""Calls in words."""

from collections.abc import Iterable
from typing import Final

from wsi_specdec.report.tables import MISSING
from wsi_specdec.store.calls import Call

_NAMES: Final = {0: "negative", 1: "positive"}
_NO_CALL: Final = {
    "empty": "no call: no tissue",
    "failed": "no call: failed",
    "skipped": "no call: skipped",
}


def label_name(label: int | None) -> str:
    """Name a label; nothing where it is not known."""
    return "" if label is None else _NAMES.get(label, str(label))


def call_name(call: Call) -> str:
    """Say what was called and whether a pathologist should decide, or why nothing was called."""
    if call.call is None:
        return _NO_CALL.get(call.state, "no call")
    name = label_name(call.call)
    return f"{name}, referred" if call.referred else name


def is_right(call: Call, label: int | None) -> bool | None:
    """Tell whether a call agrees with the label; None where either is missing."""
    return None if call.call is None or label is None else call.call == label


def score_text(value: float | None) -> str:
    """Write a score or a threshold with three digits."""
    return MISSING if value is None else f"{value:.3f}"


def ranked(calls: Iterable[Call]) -> list[Call]:
    """Sort calls, highest score first, those without a score last."""
    return sorted(calls, key=lambda c: (c.score is None, -(c.score or 0.0), c.slide_id))
