"""From an engine in a recipe to workers that have it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsft.cluster.engine import ClusterEngine
from rsft.cluster.rays import RayCrew
from rsft.cluster.worker import Station
from rsft.config.cluster import ClusterSection
from rsft.engines.base import EngineKind
from rsft.models.student import Student


def hire(
    cluster: ClusterSection, kind: EngineKind, options: Mapping[str, Any], student: Student | None, logs: Path
) -> ClusterEngine:
    """An engine whose workers each open one of this kind. Raises RunError where there is no such cluster."""
    station = Station(
        kind,
        dict(options),
        tuple(student.references) if student else None,
        student.dtype if student else "auto",
        student.trust_remote_code if student else False,
        student.lora_rank if student else None,
        os.getcwd(),
        "",
    )
    return ClusterEngine(RayCrew(cluster, cluster.engine, station, logs), student, logs)
