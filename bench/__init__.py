"""Measurements: each command prints one JSON line last, with ratios between arms that ran in turn."""
