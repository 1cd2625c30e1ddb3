"""Experiments as compositions of stages."""

from wsi_specdec.studies.arms import ArmRun, Cohort, run_arm

__all__ = ["ArmRun", "Cohort", "run_arm"]
