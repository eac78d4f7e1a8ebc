"""A training over several nodes, as its driver sees it: reserve them, bring them the job, follow it, try again."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from rsft.errors import ModelError, TrainingError
from rsft.machines.connection import connected
from rsft.models.network import Network
from rsft.store import shipping
from rsft.training import launch as one_machine
from rsft.training.base import Progress
from rsft.training.job import Job
from rsft.training.launch import Model
from rsft.training.nodes import cluster
from rsft.training.nodes.cluster import Reserved, Share
from rsft.training.nodes.following import Following
from rsft.training.nodes.member import Lost, Member
from rsft.training.nodes.node import Node
from rsft.training.settings import launch_file
from rsft.version import __version__

# So many losses without a new checkpoint between them, and it is left to whoever starts the run.
_TRIES = 3
# Nodes that may still come are waited for so long before fewer train: at first, and after one was lost.
_PATIENCE_SECONDS, _PATIENCE_AFTER_LOSS_SECONDS = 600.0, 60.0
# What a node may take to end what runs there; a lost one's processes end by themselves.
_END_SECONDS = 30.0

_log = logging.getLogger("rsft")


def launch(network: Network, job: Job, progress: Progress) -> None:
    """Train as `fit` does, in processes on as many nodes of the Ray cluster as the settings say.

    Where a node or a process is lost it goes on from the last checkpoint at once, on the nodes that are left or come.
    What the nodes say is kept in the job's folder (`processes-NODE.log`). Raises TrainingError, with the reason and the
    node's name, if they fail for another reason or again and again; RunError if there is no cluster.
    """
    with connected() as ray:
        asked = cluster.share(job.settings, ray.nodes())
        Model.of(network).write(job)
        with network.elsewhere():
            _carry_out(ray, asked, network, job, progress)


def _carry_out(ray: Any, asked: Share, network: Network, job: Job, progress: Progress) -> None:
    """Try until it is done, or was lost too often."""
    wanted, tries = job.settings.nodes or 1, 0
    while job.log is None:
        before, patience = job.checkpoints, _PATIENCE_AFTER_LOSS_SECONDS if tries else _PATIENCE_SECONDS
        try:
            least = wanted if _is_of_one_size(job) else 1
            with cluster.reserved(ray, asked, wanted, least=least, patience=patience) as nodes:
                _train(ray, nodes, asked, network, job, progress)
        except Lost as lost:
            tries = tries + 1 if job.checkpoints == before else 1
            if tries >= _TRIES:
                raise TrainingError(
                    f"The training over {wanted} nodes (training.nodes) failed {_TRIES} times without a checkpoint"
                    f" between. {lost}\nAll that its processes said is in {job.work} (processes-*.log)."
                    " Go on from the last checkpoint with rsft resume."
                ) from lost
            _log.warning("%s The training goes on from the last checkpoint on the nodes that are there.", lost)


def _is_of_one_size(job: Job) -> bool:
    """Whether only as many processes can go on from a checkpoint as wrote it: DeepSpeed's hold a part each."""
    assert job.settings.launch is not None
    said = yaml.safe_load(launch_file(job.settings.launch).read_text(encoding="utf-8"))
    return bool(said.get("distributed_type") == "DEEPSPEED")


def _train(ray: Any, nodes: Reserved, asked: Share, network: Network, job: Job, progress: Progress) -> None:
    """One try. Raises Lost if it is worth another."""
    members = [
        Member(ray, name, _actor(ray, nodes.group, number, asked, name)) for number, name in enumerate(nodes.names)
    ]
    try:
        works = _bring(ray, members, network, job)
        _begin(members, works, asked, job)
        Following(ray, members, job, progress).to_the_end()
    finally:
        _end(ray, members)


def _actor(ray: Any, group: Any, number: int, asked: Share, name: str) -> Any:
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    kind = ray.remote(Node).options(
        num_cpus=asked.cpus,
        num_gpus=asked.gpus,
        max_restarts=0,
        max_concurrency=4,  # one waits for news while another sends files
        scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number),
    )
    return kind.remote(name)


def _bring(ray: Any, members: list[Member], network: Network, job: Job) -> list[list[str]]:
    """Have the job, the base model and the policy to start from on each node. What a process reads there: the folders
    of the three."""
    models = []
    for member, found in zip(members, _all(members, "model", network.reference, str(network.folder)), strict=True):
        path, reason = found
        if not path:
            raise ModelError(
                f"The node {member.name} lacks the base model: {reason} Put it there, under the same path."
            )
        models.append(path)
    start = job.start.folder
    wanted = [job.work / "job.json", *(start.rglob("*") if start else ())]
    sizes = {str(path.absolute()): path.stat().st_size for path in wanted if path.is_file()}
    with job.visible() as mark:
        shared = _is_shared(members, sizes | {str(mark.absolute()): 0})
    if shared:
        return [
            [str(job.work.absolute()), model, *([str(Path(start).absolute())] if start else [])] for model in models
        ]
    jobs = _ship(ray, members, job.work, None, job.to_carry())
    starts = _ship(ray, members, Path(start), job.start.hash) if start else [""] * len(members)
    return [[*(one for one in three if one)] for three in zip(jobs, models, starts, strict=True)]


def _is_shared(members: list[Member], files: dict[str, int]) -> bool:
    """Whether all nodes see these files of this machine."""
    return all(_all(members, "sees", files))


def _ship(
    ray: Any, members: list[Member], folder: Path, policy: str | None, only: list[str] | None = None
) -> list[str]:
    """Bring a folder to each node that lacks it, part by part: no more than one is in the object store. Where it is."""
    manifest = shipping.manifest_of(folder, only)
    said = _all(members, "expect", manifest, policy)
    lacking = [member for member, (_, is_owed) in zip(members, said, strict=True) if is_owed]
    for part in shipping.parts(folder, manifest) if lacking else ():
        there = ray.put(part)
        _all(lacking, "take", there)
    _all(lacking, "took")
    return [where for where, _ in said]


def _begin(members: list[Member], works: list[list[str]], asked: Share, job: Job) -> None:
    """Have accelerate launch on each node. The first node's processes are the first."""
    abouts = _all(members, "about")
    for member, about in zip(members, abouts, strict=True):
        if about.version != __version__:
            raise TrainingError(
                f"The node {member.name} has rsft {about.version}, and this machine {__version__}. Install the same."
            )
    assert job.settings.launch is not None
    configuration = launch_file(job.settings.launch).read_text(encoding="utf-8")
    options = ["--num_machines", str(len(members)), "--num_processes", str(asked.processes * len(members))]
    options += ["--main_process_ip", abouts[0].address, "--main_process_port", str(abouts[0].port)]
    if _is_of_one_size(job):
        options += ["--deepspeed_multinode_launcher", "standard"]  # not over ssh: each node has its own
    begun = []
    for rank, (member, work) in enumerate(zip(members, works, strict=True)):
        command = [*options, "--machine_rank", str(rank), "-m", one_machine.PROGRAM, *work]
        begun.append(member.ask("begin", configuration, command, asked.environment))
    for member, answer in zip(members, begun, strict=True):
        member.get(answer)


def _all(members: list[Member], what: str, *words: Any) -> list[Any]:
    """What each node answers; they work at the same time."""
    asked = [member.ask(what, *words) for member in members]
    return [member.get(answer) for member, answer in zip(members, asked, strict=True)]


def _end(ray: Any, members: list[Member]) -> None:
    """End what runs on each node that still answers, then the actors."""
    ends = [member.ask("end") for member in members]
    with suppress(ray.exceptions.RayError):
        ray.wait(ends, num_returns=len(ends), timeout=_END_SECONDS)
    for member in members:
        ray.kill(member.actor)
