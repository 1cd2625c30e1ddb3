"""One target from several reference slides."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wsi_specdec.stain.profile import StainProfile, as_vector, as_vectors


def merge_vectors(profiles: Sequence[StainProfile]) -> StainProfile:
    """Average the stain vectors, all slides alike; strengths are medians."""
    mean = np.mean([profile.matrix() for profile in profiles], axis=0)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    strengths = np.median([profile.max_concentrations for profile in profiles], axis=0)
    return replace(
        profiles[0],
        stain_matrix=as_vectors(mean),
        max_concentrations=(float(strengths[0]), float(strengths[1])),
        n_pixels=sum(profile.n_pixels for profile in profiles),
    )


def merge_statistics(profiles: Sequence[StainProfile]) -> StainProfile:
    """Take the medians of the slides' means and deviations; vectors as `merge_vectors` does."""
    means, deviations = (
        as_vector(np.median([getattr(profile, name) for profile in profiles], axis=0))
        for name in ("lab_means", "lab_deviations")
    )
    return replace(merge_vectors(profiles), lab_means=means, lab_deviations=deviations)
