"""examples/cluster/skypilot.yaml: its structure, and its commands on two nodes that are processes of this machine.

There is no SkyPilot here: the keys are those of its documented task, of which the file uses these.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from two_nodes import FOLDER, ROOT, machine, outcome, processes_of, undisturbed, write_recipe

import rsft

TASK = yaml.safe_load((FOLDER / "skypilot.yaml").read_text(encoding="utf-8"))


def test_it_has_the_keys_of_a_task_and_texts_as_its_environment() -> None:
    assert TASK.keys() == {"name", "workdir", "num_nodes", "resources", "envs", "file_mounts", "setup", "run"}
    assert TASK["resources"].keys() == {"accelerators", "cpus", "memory", "disk_size", "use_spot"}
    assert all(isinstance(value, str) for value in TASK["envs"].values())
    (bucket,) = TASK["file_mounts"].values()
    assert bucket == {"name": "my-rsft-runs", "mode": "MOUNT"}
    assert re.fullmatch(r"\w+:\d+", TASK["resources"]["accelerators"])


def test_it_names_what_is_there() -> None:
    assert rsft.load_recipe(str(ROOT / TASK["envs"]["RECIPE"])).cluster is not None
    assert (ROOT / re.findall(r"python (\S+\.py)", TASK["run"])[0]).is_file()
    assert next(iter(TASK["file_mounts"])) in TASK["run"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extra,) = re.findall(r"'\.\[(\w+)\]'", TASK["setup"])
    assert extra in project["optional-dependencies"]


@pytest.mark.alone
def test_two_nodes_run_it_to_its_end_and_the_bucket_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    write_recipe()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    Path("go").touch()
    activate = tmp_path / "home/env/bin/activate"
    activate.parent.mkdir(parents=True)
    activate.touch()
    script = TASK["run"].replace("/kept/", f"{tmp_path}/kept/")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with machine() as environment:
        environment.update(
            {
                **TASK["envs"],
                "RECIPE": "bot.yaml",
                "RAY_AUTH_TOKEN": "ab" * 32,
                "PORT": str(port),
                "HOME": str(tmp_path / "home"),
                "SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.2",
                "SKYPILOT_NUM_NODES": "2",
                "SKYPILOT_NUM_GPUS_PER_NODE": "0",
            }
        )
        nodes = []
        for rank in (0, 1):
            with Path(f"log{rank}").open("wb") as log:
                command = ["bash", "-c", script]
                ranked = environment | {"SKYPILOT_NODE_RANK": str(rank)}
                nodes.append(subprocess.Popen(command, env=ranked, stdout=log, stderr=log))
        assert [node.wait(300) for node in nodes] == [0, 0], Path("log0").read_text() + Path("log1").read_text()
        assert processes_of(environment) == []
    said = json.loads(Path("runs/cluster/servers/workers.json").read_text())
    assert len({worker["pid"] for worker in said["workers"]}) == 2
    assert outcome(Path("runs/cluster")) == outcome(Path("kept/cluster")) == undisturbed()
