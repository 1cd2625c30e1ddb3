"""Differences between arms, paired on identical units, seeds and resamples."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from wsi_specdec.errors import ConfigError
from wsi_specdec.metrics import (
    MCNEMAR,
    MCNEMAR_CLUSTERED,
    Resampled,
    compare,
    delong_difference,
    holm,
    mcnemar,
    method_name,
)

# What is compared, as unit and metric.
COMPARED = (
    ("patch", "auroc"),
    ("slide", "auroc"),
    ("slide", "balanced_accuracy"),
    ("slide", "accuracy"),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """An arm, and the arm it is compared with."""

    arm: str
    baseline: str


def pairs_of(
    arms: Sequence[str], baseline: str, also: Sequence[tuple[str, str]] = ()
) -> list[Pair]:
    """List what is compared: each arm with the baseline, and `a+x` with `<baseline>+x` too.

    Parameters
    ----------
    also
        Further pairs, of an arm and what it is compared with; those that are listed anyway are
        not listed twice.

    Raises
    ------
    ConfigError
        If there are several arms and the baseline is none of them, or a further pair names what is
        no arm or an arm twice.

    Examples
    --------
    >>> [f"{p.arm} - {p.baseline}" for p in pairs_of(["wd", "sd", "wd+m", "sd+m"], "wd")]
    ['sd - wd', 'wd+m - wd', 'sd+m - wd', 'sd+m - wd+m']
    """
    if len(arms) < 2:
        return []
    if baseline not in arms:
        msg = (
            f"the baseline {baseline!r} is not among the arms {', '.join(arms)}: set "
            "evaluate.baseline to one of them"
        )
        raise ConfigError(msg)
    pairs = []
    for arm in arms:
        if arm != baseline:
            pairs.append(Pair(arm, baseline))
        head, plus, rest = arm.partition("+")
        sibling = f"{baseline}+{rest}"
        if plus and head != baseline and sibling in arms:
            pairs.append(Pair(arm, sibling))
    for arm, other in also:
        if arm == other or not {arm, other} <= set(arms):
            msg = f"evaluate.pairs: {arm!r} and {other!r} are not two of the arms {', '.join(arms)}"
            raise ConfigError(msg)
        pairs.append(Pair(arm, other))
    return list(dict.fromkeys(pairs))


def compare_arms(
    resampled: Mapping[tuple[str, str], Mapping[str, Mapping[str, Resampled]]],
    pairs: Sequence[Pair],
    confidence: float,
    compared: Sequence[tuple[str, str]] = COMPARED,
) -> list[dict[str, Any]]:
    """Compare every pair in every cohort, p-values adjusted by Holm over the pairs.

    Parameters
    ----------
    resampled
        By (cohort, unit), then arm, then metric.
    pairs
        From `pairs_of`.
    confidence
        For one 0.95.
    compared
        What is compared, as unit and metric.

    Returns
    -------
    The entries of `differences` in `results.json`.
    """
    rows = []
    for (cohort, unit), arms in resampled.items():
        for compared_unit, metric in compared:
            if compared_unit != unit:
                continue
            for pair in pairs:
                found = _difference(arms[pair.arm][metric], arms[pair.baseline][metric], confidence)
                names = asdict(pair) | {"cohort": cohort, "unit": unit, "metric": metric}
                rows.append(names | found | {"p_adjusted": None})
    return _adjusted(rows)


def _difference(arm: Resampled, baseline: Resampled, confidence: float) -> dict[str, Any]:
    """Compare by DeLong (AUROC) or McNemar (accuracy of one seed), else by bootstrap.

    Where the test is DeLong's, what the bootstrap says stands beside it.
    """
    by_bootstrap = compare(arm, baseline, confidence)
    sample = arm.sample
    if arm.linear is not None and baseline.linear is not None and by_bootstrap.delta is not None:
        name = method_name(sample)
        found = delong_difference(arm.linear, baseline.linear, confidence, name)
        beside = ("ci_low", "ci_high", "p", "test")
        return asdict(found) | {"bootstrap": {k: getattr(by_bootstrap, k) for k in beside}}
    if arm.metric == "accuracy" and len(arm.points) == 1 and sample.patients.size:
        p = mcnemar(sample.labels, sample.calls[0], baseline.sample.calls[0], sample.patients)
        one_each = sample.n_patients == sample.patients.size
        name = MCNEMAR if one_each else MCNEMAR_CLUSTERED
        by_bootstrap = replace(by_bootstrap, p=p, test=f"{name}; interval by {by_bootstrap.test}")
    return asdict(by_bootstrap)


def _adjusted(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    families: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        families[row["cohort"], row["unit"], row["metric"]].append(index)
    out = list(rows)
    for members in families.values():
        adjusted = holm([rows[index]["p"] for index in members])
        for index, p in zip(members, adjusted, strict=True):
            out[index] = rows[index] | {"p_adjusted": p}
    return out
