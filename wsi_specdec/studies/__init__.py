"""Experiments as compositions of stages."""

from wsi_specdec.studies.arms import (
    ArmRun,
    Cohort,
    arm_settings,
    read_cost,
    run_arm,
    run_arms,
    timed,
)

__all__ = ["ArmRun", "Cohort", "arm_settings", "read_cost", "run_arm", "run_arms", "timed"]
