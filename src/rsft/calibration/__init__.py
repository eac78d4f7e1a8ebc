"""Thresholds with a guarantee, from labelled replies. Pure."""

from rsft.calibration.certificate import Certificate, Refusal, certify
from rsft.calibration.conformal import conformal_selection
from rsft.calibration.risk import labels_needed

__all__ = ["Certificate", "Refusal", "certify", "conformal_selection", "labels_needed"]
