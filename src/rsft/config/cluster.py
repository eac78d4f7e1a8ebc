"""What a recipe may say of the machines that work together."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from rsft.config.section import Section


class WorkersSection(Section):
    """Processes of one kind on the cluster, and what each of them takes."""

    workers: int | None = Field(
        None,
        ge=0,
        description="How many; by default one for each GPU (or group of them), or for each machine. Of a scorer, 0: in "
        "the run's own process.",
    )
    cpus: float | None = Field(
        None, ge=0, description="Cores that each takes; by default its machine's, shared with the others there."
    )
    gpus: float | None = Field(
        None, ge=0, description="GPUs that each takes; by default 1 where the cluster has any, or a server's ranks."
    )
    memory_gib: float | None = Field(None, gt=0, description="Memory that each takes, as Ray counts it, in GiB.")
    resources: dict[str, float] = Field({}, description="Further resources of Ray's that each takes: {a100: 1}.")


class ClusterSection(Section):
    """Many machines: who samples and who scores, as processes of a Ray cluster. It changes no candidate."""

    ray: str = Field(
        "auto", min_length=1, description="auto: the cluster of this machine; HOST:PORT of another; local: a new one."
    )
    engine: WorkersSection = Field(WorkersSection(), description="Workers that sample.")
    scorers: dict[str, WorkersSection] = Field(
        {},
        description="Scorers that work there, by name: {relevance: {workers: 4}}. Those with a model of their own do "
        "so in any case, one on each machine; all others, unless they are named, in the run's own process.",
    )
    patience_seconds: float = Field(
        60, gt=0, description="A worker that says nothing for so long is given up, and its work is others'."
    )

    @model_validator(mode="after")
    def _somebody_samples(self) -> ClusterSection:
        if self.engine.workers == 0:
            raise ValueError(
                "engine.workers is 0, and nobody would sample; leave it out for one on each machine or GPU"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _address_alone(cls, said: Any) -> Any:
        return {"ray": said} if isinstance(said, str) else said
