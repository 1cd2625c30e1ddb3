"""The built-in cohort: slides composed of real breast-tissue patches that ship with the package."""

from wsi_specdec.demo.compose import compose_cohort, truth_path
from wsi_specdec.demo.packed import Patches, load_patches

__all__ = ["Patches", "compose_cohort", "load_patches", "truth_path"]
