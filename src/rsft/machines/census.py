"""What Ray knows of a cluster's machines: what is free, what the dead ones had, and whether somebody starts others.

Ray has no public words for these. Where a version of it answers otherwise, or one is connected by way of a Ray client,
none is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

_SECONDS = 10.0
# Where Ray's monitor of old writes every few seconds what it sees.
_MONITORED = b"__autoscaling_status"
# What it calls the kind of a machine that somebody started by hand: each is one of its own, by the machine's number.
_BY_HAND = "node_"


def free(ray: Any) -> list[Mapping[str, float]] | None:
    """What of each machine nobody uses now; None where Ray does not tell."""
    try:
        return [dict(one) for one in ray._private.state.available_resources_per_node().values()]
    except Exception:  # whatever another version of Ray makes of this
        return None


def had(ray: Any) -> list[Mapping[str, float]] | None:
    """What each machine has or, if it is dead, had; None where Ray does not tell."""
    try:
        known = ray._private.worker.global_worker.gcs_client.get_all_node_info(timeout=_SECONDS)
        return [dict(node.resources_total) for node in known.values()]
    except Exception:  # whatever another version of Ray makes of this
        return None


def autoscales(ray: Any) -> bool | None:
    """Whether an autoscaler starts machines for what is asked; None where Ray does not tell.

    Ray's monitor runs on a head without one as well, and mirrors what is there. An autoscaler has kinds of machines,
    called as its configuration says.
    """
    try:
        from ray.autoscaler.v2.utils import is_autoscaler_v2

        client = ray._private.worker.global_worker.gcs_client
        if is_autoscaler_v2(fetch_from_server=True, gcs_client=client):
            return _has_kinds(_kinds_of_v2(ray))
        told = client.internal_kv_get(_MONITORED, namespace=None, timeout=_SECONDS)
        return told is not None and _has_kinds(_kinds_of_old(json.loads(told)))  # nothing is told without a monitor
    except Exception:  # whatever another version of Ray makes of this
        return None


def _kinds_of_v2(ray: Any) -> list[str]:
    from ray.autoscaler.v2.sdk import get_cluster_status

    told = get_cluster_status(ray.get_runtime_context().gcs_address, timeout=int(_SECONDS))
    there = [*told.active_nodes, *told.idle_nodes, *told.pending_nodes, *told.failed_nodes]
    return [one.ray_node_type_name for one in (*there, *told.pending_launches, *told.failed_launches)]


def _kinds_of_old(told: Mapping[str, Any]) -> list[str]:
    report = told["autoscaler_report"]
    return [*report["node_type_mapping"].values(), *report["active_nodes"], *report["pending_launches"]]


def _has_kinds(names: Iterable[str]) -> bool:
    return any(name and not name.startswith(_BY_HAND) for name in names)
