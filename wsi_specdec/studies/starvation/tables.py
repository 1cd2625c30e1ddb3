"""What the study of gradient starvation found, as Markdown tables."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from wsi_specdec.studies.pages.tables import table

ARMS: Final = {
    "ce": "cross-entropy alone",
    "wd": "weight decay",
    "sd": "spectral decoupling",
}
_KEPT: Final = (
    "The weak feature's response, relative to that beside the faintest other feature: 1 where "
    "nothing is starved."
)


def linear_table(found: Mapping[str, Any]) -> list[str]:
    """Write what each arm learns of the weak feature, and how far theory was off."""
    arms = found["arms"]
    strengths = [row["strong"] for row in arms["sd"]["strengths"]]
    header = [
        "Trained with",
        *(f"Strength {strong:g}" for strong in strengths),
        "Largest error of theory",
    ]
    rows = [
        [
            ARMS[arm],
            *(
                f"{_value(row['kept'])}; theory {row['expected_kept']:.3f}"
                for row in told["strengths"]
            ),
            f"{100 * told['largest_error']:.2g} %",
        ]
        for arm, told in arms.items()
    ]
    approach = "training ended too early to tell how fast the weak feature approaches"
    if found["rate_ratio"]["value"] is not None:
        ratio = _value(found["rate_ratio"], 4)
        approach = f"the weak feature approaches at {ratio} times the predicted rate"
    rest = (
        "Under spectral decoupling theory has every sample rest at a margin of "
        f"{found['margin_at_rest']:.4f}; {approach}."
    )
    return [
        _KEPT,
        "",
        *table(header, rows),
        "",
        rest,
    ]


def moons_table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write margins and test accuracy of each arm and value."""
    gaps = [each["gap"] for each in found[0]["accuracy"]]
    header = ["Trained with", "Value", "Training accuracy", "Margin"]
    rows = [
        [
            ARMS[row["arm"]],
            f"{row['value']:g}" if row["value"] else "",
            _value(row["training_accuracy"]),
            _value(row["margin"]),
            *(_value(each) for each in row["accuracy"]),
        ]
        for row in found
    ]
    return table([*header, *(f"Accuracy, gap {gap:g}" for gap in gaps)], rows)


def _value(found: Mapping[str, Any], digits: int = 3) -> str:
    text = f"{found['value']:.{digits}f}"
    if found["ci_low"] is None:
        return text
    return f"{text} ({found['ci_low']:.{digits}f} to {found['ci_high']:.{digits}f})"
