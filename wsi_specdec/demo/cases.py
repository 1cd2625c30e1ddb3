"""Which patients and patches make up which case, so that no patient stands in two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import CohortConfig
from wsi_specdec.demo.packed import Patches
from wsi_specdec.errors import NotEnoughDataError
from wsi_specdec.keys import EXTERNAL, INTERNAL, TRAIN, VALIDATION

# Patients are grouped for at least this many cases, so that a smaller cohort is made of cases
# like those of the full one, and not of larger ones.
_MIN_CASES_PER_LABEL: Final = 38
# Patches without cancer set aside for the negative cases: 88 each in the full cohort.
_PATCHES_FOR_NEGATIVES: Final = 88 * _MIN_CASES_PER_LABEL
_MAX_PATCHES: Final = 105
_MIN_PATCHES: Final = 30
_MIN_TUMOUR: Final = 15


@dataclass(frozen=True, slots=True)
class Case:
    """One slide to be composed: the patches of a group of patients that is in no other case.

    Attributes
    ----------
    number
        From 1, in the order of the splits.
    split
        Split of the whole case.
    tumour, normal
        Indices into the packed patches: IDC and other tissue. A case without cancer has no IDC.
    """

    number: int
    split: str
    tumour: tuple[int, ...]
    normal: tuple[int, ...]

    @property
    def case_id(self) -> str:
        """Name that stands as the patient of the composed slide."""
        return f"case-{self.number:03d}"

    @property
    def label(self) -> int:
        """1 with cancer, else 0."""
        return int(bool(self.tumour))


@dataclass(frozen=True, slots=True)
class _Group:
    """Patches of a group of patients, before it is given a split."""

    tumour: tuple[int, ...]
    normal: tuple[int, ...]


def assign_cases(patches: Patches, config: CohortConfig) -> list[Case]:
    """Group the patients into cases, and deal the cases to the splits.

    Patients poor in IDC make the cases without cancer (their few IDC patches stay unused), the
    others those with cancer. Groups are balanced in IDC and in other tissue; groups of one label
    are dealt to the splits in the order of their size, so that every split has the same mixture.

    Raises
    ------
    NotEnoughDataError
        If the patches cannot fill so many cases.
    """
    rng = np.random.default_rng(config.seed)
    sizes = {
        TRAIN: config.train,
        VALIDATION: config.validation,
        INTERNAL: config.internal,
        EXTERNAL: config.external,
    }
    positives = {split: size // 2 for split, size in sizes.items()}
    negatives = {split: size - positives[split] for split, size in sizes.items()}
    poor, rich = _pools(patches)
    dealt = _deal(_positive_groups(patches, rich, _enough(positives), rng), positives, rng)
    for split, groups in _deal(
        _negative_groups(patches, poor, _enough(negatives), rng), negatives, rng
    ).items():
        dealt[split] += groups
    return _numbered(dealt, rng)


def _enough(quota: Mapping[str, int]) -> int:
    return max(_MIN_CASES_PER_LABEL, sum(quota.values()))


def _pools(patches: Patches) -> tuple[list[str], list[str]]:
    """Patients for cases without and with cancer; the former waste as little IDC as possible."""
    counts = _counts(patches)
    order = sorted(counts, key=lambda p: (counts[p][0] / max(1, counts[p][1]), p))
    normal = np.cumsum([counts[patient][1] for patient in order])
    n_poor = int(np.searchsorted(normal, _PATCHES_FOR_NEGATIVES)) + 1
    return order[:n_poor], order[n_poor:]


def _counts(patches: Patches) -> dict[str, NDArray[np.float64]]:
    """Patient to numbers of IDC and of other patches."""
    names, inverse = np.unique(patches.patient, return_inverse=True)
    total = np.bincount(inverse)
    tumour = np.bincount(inverse, weights=patches.label)
    return {
        str(name): np.array([t, n - t], dtype=np.float64)
        for name, t, n in zip(names, tumour, total, strict=True)
    }


def _positive_groups(
    patches: Patches, patients: Sequence[str], n_groups: int, rng: np.random.Generator
) -> list[_Group]:
    counts = _counts(patches)
    groups = []
    for members in _balanced({p: counts[p] for p in patients}, n_groups, rng):
        tumour = _indices(patches, members, label=1, rng=rng)
        normal = _indices(patches, members, label=0, rng=rng)
        groups.append(_Group(tumour, normal[: max(0, _MAX_PATCHES - len(tumour))]))
    return _checked(groups, _MIN_TUMOUR)


def _negative_groups(
    patches: Patches, patients: Sequence[str], n_groups: int, rng: np.random.Generator
) -> list[_Group]:
    counts = _counts(patches)
    sizes = {p: counts[p][1:] for p in patients}
    groups = [
        _Group((), _indices(patches, members, label=0, rng=rng)[:_MAX_PATCHES])
        for members in _balanced(sizes, n_groups, rng)
    ]
    return _checked(groups, 0)


def _balanced(
    sizes: Mapping[str, NDArray[np.float64]], n_groups: int, rng: np.random.Generator
) -> list[list[str]]:
    """Spread patients over groups, the largest first, each where the loads stay most even.

    `sizes` holds a vector a patient; a group's load is its sum, relative to the mean load.
    """
    mean = np.sum(list(sizes.values()), axis=0) / n_groups
    relative = {name: size / mean for name, size in sizes.items()}
    # Sizes are blurred, so that another seed gives other groups.
    order = sorted(relative, key=lambda name: -relative[name].sum() * float(rng.uniform(0.8, 1.25)))
    loads = np.zeros((n_groups, len(mean)))
    members: list[list[str]] = [[] for _ in range(n_groups)]
    for name in order:
        growth = ((loads + relative[name]) ** 2 - loads**2).sum(axis=1)
        group = int(growth.argmin())
        loads[group] += relative[name]
        members[group].append(name)
    return members


def _indices(
    patches: Patches, members: Sequence[str], *, label: int, rng: np.random.Generator
) -> tuple[int, ...]:
    """Patches of these patients and this label, shuffled."""
    found = np.flatnonzero(np.isin(patches.patient, members) & (patches.label == label))
    return tuple(int(i) for i in rng.permutation(found))


def _checked(groups: list[_Group], min_tumour: int) -> list[_Group]:
    for group in groups:
        n_patches = len(group.tumour) + len(group.normal)
        if n_patches < _MIN_PATCHES or len(group.tumour) < min_tumour:
            msg = (
                f"the packed patches cannot fill {len(groups)} slides of one label: one would "
                f"have {n_patches} patches, {len(group.tumour)} of them cancer; "
                "ask for fewer slides in the cohort"
            )
            raise NotEnoughDataError(msg)
    return groups


def _deal(
    groups: Sequence[_Group], quota: Mapping[str, int], rng: np.random.Generator
) -> dict[str, list[_Group]]:
    """Deal groups, the largest first, to the split that is furthest behind its quota."""
    spare = "spare"
    quotas = {**quota, spare: len(groups) - sum(quota.values())}
    dealt: dict[str, list[_Group]] = {split: [] for split in quotas}
    for group in sorted(groups, key=lambda g: (len(g.tumour), len(g.normal)), reverse=True):
        behind = {
            split: (len(dealt[split]) + float(rng.uniform(0.3, 1.0))) / size
            for split, size in quotas.items()
            if len(dealt[split]) < size
        }
        dealt[min(behind, key=lambda split: behind[split])].append(group)
    del dealt[spare]
    return dealt


def _numbered(dealt: Mapping[str, Sequence[_Group]], rng: np.random.Generator) -> list[Case]:
    """Give numbers split by split; within a split they say nothing of the label."""
    cases: list[Case] = []
    for split, groups in dealt.items():
        cases += [
            Case(len(cases) + place, split, groups[i].tumour, groups[i].normal)
            for place, i in enumerate(rng.permutation(len(groups)), start=1)
        ]
    return cases
