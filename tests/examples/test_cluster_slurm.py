"""examples/cluster/slurm.sbatch: as a shell reads it, and as a job on two nodes that are processes of this machine."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest
from two_nodes import (
    FOLDER,
    machine,
    outcome,
    processes_of,
    stand_in,
    undisturbed,
    wait_for,
    write_recipe,
)

SCRIPT = FOLDER / "slurm.sbatch"
TEXT = SCRIPT.read_text(encoding="utf-8")
# What SLURM tells a job of two nodes, each with a core and 1,000 MiB.
JOB = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NODELIST": "node[1-2]",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_CPUS_PER_TASK": "1",
    "SLURM_CPUS_ON_NODE": "1",
    "SLURM_MEM_PER_NODE": "1000",
}


def test_what_is_asked_of_slurm_stands_before_the_first_command() -> None:
    before = re.split(r"^(?!#|$)", TEXT, maxsplit=1, flags=re.M)[0]
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", before, re.M))
    assert len(asked) == TEXT.count("#SBATCH"), "SLURM reads none that stands behind a command, nor one with a comment"
    assert asked.keys() >= {"nodes", "cpus-per-task", "gpus-per-node", "mem", "time", "requeue", "no-kill"}
    assert asked["ntasks-per-node"] == "1"
    assert asked["signal"].startswith("B:USR1@"), "the script is told, not Ray"


@pytest.mark.alone
def test_a_job_that_is_queued_again_goes_on_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    write_recipe()
    with machine() as environment:
        environment.update(JOB | {"CALLS": str(tmp_path / "calls")})
        stand_in(
            environment,
            "scontrol",
            'echo "scontrol $*" >> "$CALLS"; if [ "$1" = show ]; then echo 127.0.0.1; echo 2; fi',
        )
        # A node more is a process more.
        stand_in(environment, "srun", 'echo "srun $*" >> "$CALLS"; while [[ $1 == --* ]]; do shift; done; exec "$@"')
        command = ["bash", str(SCRIPT), "bot.yaml"]
        with (tmp_path / "log").open("wb") as log:
            job = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for(lambda: Path("reached").exists() or job.poll() is not None)
        assert job.poll() is None, Path("log").read_text()
        job.send_signal(signal.SIGUSR1)
        assert job.wait(300) == 0
        calls = Path("calls").read_text().splitlines()
        assert calls[0] == "scontrol show hostnames node[1-2]"
        assert calls[-1] == "scontrol requeue 4711"
        assert [line.partition(" --cpus")[0] for line in calls[1:-1]] == [
            "srun --overlap --no-kill --nodes=1 --ntasks=1"
        ] * 2
        assert processes_of(environment) == []
        first = {file: file.read_bytes() for file in Path("runs/bot/candidates").iterdir()}
        assert first

        Path("go").touch()
        again = environment | {"SLURM_RESTART_COUNT": "1"}
        done = subprocess.run(command, env=again, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert processes_of(environment) == []
    assert {file: file.read_bytes() for file in first} == first, "what was drawn is not drawn again"
    assert outcome(Path("runs/bot")) == undisturbed()


@pytest.mark.alone
def test_a_job_whose_run_fails_fails_and_is_not_queued_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    with machine() as environment:
        environment.update(JOB | {"SLURM_JOB_NUM_NODES": "1", "CALLS": str(tmp_path / "calls")})
        stand_in(environment, "scontrol", 'echo "scontrol $*" >> "$CALLS"; echo 127.0.0.1')
        stand_in(environment, "srun", 'while [[ $1 == --* ]]; do shift; done; exec "$@"')
        command = ["bash", str(SCRIPT), "nothing.yaml"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "nothing.yaml" in done.stderr
        assert processes_of(environment) == []
        assert Path("calls").read_text().count("scontrol") == 1
