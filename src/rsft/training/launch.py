"""A training in several processes, which accelerate launches: `python -m rsft.training.process` in each."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from rsft.errors import TrainingError
from rsft.models.network import Network
from rsft.models.packing import ReplyRow
from rsft.training.base import Progress
from rsft.training.job import Job
from rsft.training.settings import SftSettings, launch_file
from rsft.types import Policy

STEP = "rsft.step "
"""What a line of the first process begins with that tells of a step."""
FAILED = "rsft.failed "
"""What a line of a process begins with that tells why it failed."""
WARNING = "rsft.warning "
"""What a line of the first process begins with that its starter shall say."""
STARTER = "RSFT_STARTER"
"""The environment variable with the number of the process without which a launched one ends."""
OWN_DISK = "RSFT_OWN_DISK"
"""The environment variable that is there if other machines that train along do not see the job's folder."""
PROGRAM = "rsft.training.process"
"""What each of the processes runs."""

_log = logging.getLogger("rsft")


def processes(launch: str) -> int:
    """How many processes a configuration of accelerate asks for, or one for each GPU. Raises TrainingError for none."""
    import torch

    said = yaml.safe_load(launch_file(launch).read_text(encoding="utf-8")).get("num_processes")
    count = int(said or torch.cuda.device_count())
    if count == 0:
        raise TrainingError(
            f"training.launch: {launch} trains on all GPUs of this machine, and torch finds none. Leave it out, or say"
            f" how many processes there shall be (num_processes) in a copy of {launch_file(launch)}."
        )
    return count


def launch(network: Network, job: Job, progress: Progress) -> None:
    """Train as `fit` does, in the processes that the settings' configuration of accelerate asks for.

    Raises TrainingError, with what failed first, if they fail.
    """
    named = job.settings.launch
    assert named is not None
    Model.of(network).write(job)
    options = ["--config_file", str(launch_file(named)), "--num_processes", str(processes(named))]
    options += ["-m", PROGRAM, str(job.work)]
    log = job.work / "processes.log"
    reached, reasons = "they did not even begin", list[str]()
    with network.elsewhere(), log.open("w", encoding="utf-8") as said, _accelerate(options) as running:
        for line in running.stdout or ():
            if line.startswith(STEP):
                step, of = map(int, line.removeprefix(STEP).split())
                progress(step, of)
                reached = f"they ended after step {step} of {of}"
                continue
            if line.startswith(FAILED):
                reasons.append(line.removeprefix(FAILED).strip())
            if line.startswith(WARNING):
                _log.warning("%s", line.removeprefix(WARNING).strip())
            said.write(line)
            said.flush()
    if job.log is None:
        raise TrainingError(
            f"The processes that were to train together (training.launch: {named}) failed: {[*reasons, reached][0]}\n"
            f"All that they said is in {log}. Go on from the last checkpoint with rsft resume."
        )


def start(options: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    """`accelerate launch` and what it launches, which end when this process does. They all speak to one pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",  # lines of several processes may be torn
        env={**os.environ, **environment, STARTER: str(os.getpid())},
    )


@contextmanager
def _accelerate(options: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """The same, ended when this is interrupted."""
    with start(options) as running:
        try:
            yield running
        except BaseException:
            running.terminate()
            raise


@dataclass(frozen=True, slots=True)
class Model:
    """What a launched process loads."""

    reference: str
    folder: str
    dtype: str
    trust_remote_code: bool
    hash: str

    @classmethod
    def of(cls, network: Network) -> Model:
        dtype = str(network.dtype).removeprefix("torch.")
        return cls(network.reference, str(network.folder), dtype, network.trust_remote_code, network.base.hash)

    def write(self, job: Job) -> None:
        """Put a job into its folder, with what it trains."""
        for name, rows in (("rows", job.rows), ("heldout", job.heldout)):
            columns = {
                "prompt_ids": pa.array([row.prompt_ids for row in rows], pa.list_(pa.int32())),
                "reply_ids": pa.array([row.reply_ids for row in rows], pa.list_(pa.int32())),
                "weight": pa.array([row.weight for row in rows], pa.float64()),
            }
            pq.write_table(pa.table(columns), job.work / f"{name}.parquet")
        said = {
            "model": asdict(self),
            "settings": job.settings.model_dump(mode="json"),
            "start": asdict(job.start),
            "seed": job.seed,
        }
        (job.work / "job.json").write_text(json.dumps(said), encoding="utf-8")


def read_job(work: Path, model_folder: str = "", start_folder: str = "") -> tuple[Model, Job]:
    """What `Model.write` put there. The folders of the base model and of the policy to start from may be others on this
    machine."""
    said = json.loads((work / "job.json").read_text(encoding="utf-8"))
    rows, heldout = (
        tuple(
            ReplyRow(tuple(row["prompt_ids"]), tuple(row["reply_ids"]), row["weight"])
            for row in pq.read_table(work / f"{name}.parquet").to_pylist()
        )
        for name in ("rows", "heldout")
    )
    settings = SftSettings.model_validate(said["settings"])
    model, start = Model(**said["model"]), Policy(**said["start"])
    if model_folder:
        model = replace(model, folder=model_folder)
    if start_folder:
        start = replace(start, **{"adapter" if start.adapter else "weights": start_folder})
    return model, Job(settings, rows, heldout, start, said["seed"], work)
