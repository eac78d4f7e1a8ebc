"""Thresholds with a guarantee, from labelled replies. Pure."""

from rsft.calibration.certificate import Certificate, Refusal, certify
from rsft.calibration.conformal import conformal_selection
from rsft.calibration.moved import LinesBound
from rsft.calibration.risk import error_bound, labels_needed

__all__ = [
    "Certificate",
    "LinesBound",
    "Refusal",
    "certify",
    "conformal_selection",
    "error_bound",
    "labels_needed",
]
