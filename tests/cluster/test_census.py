"""What Ray is asked of its machines, by words of its own that are not public: that they still say the same."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from machines import Machines

from rsft.cluster.panel import on_cluster
from rsft.config.cluster import ClusterSection
from rsft.errors import RunError
from rsft.machines import census, room
from rsft.machines.connection import connected
from rsft.scorers import build_scorers

ray = pytest.importorskip("ray")

BY_HAND = {"node_type_mapping": {"ab12": "node_ab12"}, "active_nodes": {"node_ab12": 1}, "pending_launches": {}}
STARTED = {"node_type_mapping": {"10.0.0.1": "head"}, "active_nodes": {}, "pending_launches": {}}
ASKS = """
import sys
import ray
from rsft.machines import census
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
print(census.autoscales(ray), flush=True)
"""


def told(content: Any) -> SimpleNamespace:
    """Ray, whose monitor has written this."""

    def get(key: bytes, **_: Any) -> bytes | None:
        return json.dumps(content).encode() if key == b"__autoscaling_status" and content is not None else None

    client = SimpleNamespace(internal_kv_get=get)
    return SimpleNamespace(
        _private=SimpleNamespace(worker=SimpleNamespace(global_worker=SimpleNamespace(gcs_client=client)))
    )


@pytest.mark.parametrize(
    ("content", "autoscales"),
    [
        (None, False),
        ({"autoscaler_report": BY_HAND}, False),
        ({"autoscaler_report": STARTED}, True),
        ({"autoscaler_report": {**BY_HAND, "pending_launches": {"gpu_worker": 2}}}, True),
        ({"load_metrics_report": {}}, None),
        ([], None),
    ],
)
def test_an_autoscaler_has_kinds_of_machines(content: Any, autoscales: bool | None) -> None:
    assert census.autoscales(told(content)) is autoscales


@pytest.mark.parametrize(
    ("there", "pending", "autoscales"),
    [(["node_ab12"], [], False), (["head"], [], True), (["node_ab12", ""], [], False), (["node_ab12"], ["gpu"], True)],
)
def test_so_has_one_of_rays_second_kind(
    there: list[str], pending: list[str], autoscales: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {
        name: [SimpleNamespace(ray_node_type_name=kind) for kind in those]
        for name, those in {"idle_nodes": there, "pending_launches": pending}.items()
    }
    others = dict.fromkeys(("active_nodes", "pending_nodes", "failed_nodes", "failed_launches"), ())
    status = SimpleNamespace(**kinds, **others)
    monkeypatch.setattr("ray.autoscaler.v2.utils.is_autoscaler_v2", lambda **_: True)
    monkeypatch.setattr("ray.autoscaler.v2.sdk.get_cluster_status", lambda address, timeout: status)
    asked = told(None)
    asked.get_runtime_context = lambda: SimpleNamespace(gcs_address="10.0.0.1:6379")
    assert census.autoscales(asked) is autoscales


def test_of_a_ray_that_answers_otherwise_nothing_is_known() -> None:
    assert census.free(SimpleNamespace()) is None
    assert census.had(SimpleNamespace()) is None
    assert census.autoscales(SimpleNamespace()) is None


@pytest.mark.alone
def test_what_a_dead_machine_had_is_known(three: Machines) -> None:
    with connected(three.address) as connection:
        before = len(census.had(connection) or ())
        os.kill(three.raylets()[0], signal.SIGKILL)
        while sum(node["Alive"] for node in connection.nodes()) == before:
            time.sleep(0.2)
        had = census.had(connection)
        assert had is not None
        assert len(had) == before
        assert all(one["CPU"] == 4 for one in had)
        three.mend()


@pytest.mark.alone
def test_what_nobody_uses_is_known(three: Machines) -> None:
    with connected(three.address) as connection:
        before = sum(one.get("CPU", 0) for one in census.free(connection) or ())
        assert before == sum(node["Resources"]["CPU"] for node in connection.nodes() if node["Alive"])
        group = connection.util.placement_group([{"CPU": 3}])
        assert group.wait(30)
        while sum(one.get("CPU", 0) for one in census.free(connection) or ()) != before - 3:
            time.sleep(0.1)
        connection.util.remove_placement_group(group)


@pytest.mark.alone
def test_who_asks_for_what_no_machine_has_is_told(three: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_GRACE_SECONDS", 1.0)
    monkeypatch.setattr(room, "_LOOK_SECONDS", 0.5)
    scorers = build_scorers({"short": {"type": "format", "max_words": 3}}, ["none"])
    cluster = ClusterSection.model_validate({"ray": three.address, "scorers": {"short": {"workers": 1, "gpus": 2}}})
    panel = on_cluster(scorers, cluster, "runs/bot", 60.0)["short"]
    with pytest.raises(
        RunError, match=r"'short' has not come, and never will: .*2 GPUs.*cluster\.scorers\.short: gpus"
    ):
        panel.prepare()
    panel.close()


@pytest.mark.alone
def test_an_autoscaler_of_rays_own_is_known(tmp_path: Path) -> None:
    """A head that would start machines, as processes of this one, for what is asked."""
    kinds = {"gpu": {"resources": {"GPU": 1}, "max_workers": 1}, "head": {"resources": {"CPU": 1}, "max_workers": 0}}
    said: dict[str, Any] = {
        "cluster_name": "small",
        "max_workers": 1,
        "provider": {"type": "fake_multinode"},
        "head_node_type": "head",
        "available_node_types": {name: {**kind, "node_config": {}} for name, kind in kinds.items()},
    }
    lists = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    said |= {f"{name}_commands": [] for name in lists}
    said |= {"auth": {}, "docker": {}, "file_mounts": {}, "cluster_synced_files": [], "upscaling_speed": 1}
    said |= {"idle_timeout_minutes": 5, "file_mounts_sync_continuously": False, "rsync_exclude": [], "rsync_filter": []}
    (tmp_path / "autoscaling.json").write_text(json.dumps(said))
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["start", "--head", f"--port={port}", "--num-cpus=1", f"--object-store-memory={80 * 2**20}", "--block"]
    words += ["--include-dashboard=false", f"--autoscaling-config={tmp_path / 'autoscaling.json'}"]
    command = [sys.executable, "-m", "ray.scripts.scripts", *words]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True) as head,
    ):
        try:
            for _ in range(10):
                asked = [sys.executable, "-c", ASKS, f"127.0.0.1:{port}"]
                done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)
                if done.stdout.strip() == "True":
                    return
                time.sleep(1)
            pytest.fail(f"{done.stdout}{done.stderr}{(tmp_path / 'log').read_text()}")
        finally:
            ends = psutil.Process(head.pid).children(recursive=True)
            head.terminate()
            _, left = psutil.wait_procs(ends, timeout=10)
            for process in left:
                process.kill()
