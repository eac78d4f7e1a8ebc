"""Trackers: TensorBoard, Weights & Biases, MLflow and Trackio are told what a run's finished stages came to.

They watch the run folder from beside the run. No library of theirs is imported before a recipe asks for it.
"""

from rsft.tracking.track import check_trackers, tell_all, tracked

__all__ = ["check_trackers", "tell_all", "tracked"]
