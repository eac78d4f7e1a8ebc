"""Where trackers keep what they are told, as fixtures."""

from tracked_runs import at_work, trackio_is_there

__all__ = ["at_work", "trackio_is_there"]
