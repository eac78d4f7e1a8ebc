"""What a recipe can say about supervised fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from rsft.errors import nearest

_LAUNCHES = Path(__file__).parent / "launches"


def launches() -> list[str]:
    """The shipped configurations of accelerate."""
    return sorted(file.stem for file in _LAUNCHES.glob("*.yaml"))


def launch_file(named: str) -> Path:
    """The configuration of accelerate that a recipe names: a shipped one, or a file."""
    return _LAUNCHES / f"{named}.yaml" if named in launches() else Path(named)


def _is_launch(named: str) -> str:
    if not launch_file(named).is_file():
        raise ValueError(
            f"there is no file '{named}'.{nearest(named, launches())} Shipped are {', '.join(launches())}; a file of"
            " your own is written by 'accelerate config --config_file FILE'"
        )
    return named


class Lora(BaseModel):
    """A low-rank adapter (LoRA, 2106.09685) on every linear layer but the head."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(32, ge=1, description="Of the update of each layer: more can learn more, and takes more memory.")
    alpha: float | None = Field(None, gt=0, description="Scale of the update; twice the rank when left out.")
    dropout: float = Field(0.0, ge=0, lt=1, description="The share of inputs that each step leaves out at random.")


class SftSettings(BaseModel):
    """Supervised fine-tuning on the accepted replies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lora: Lora | None = Field(Lora(), description="null trains all weights.")
    learning_rate: float = Field(5e-4, gt=0, description="At its greatest, after the warm-up.")
    epochs: float = Field(2, gt=0, description="How often each reply is learnt from.")
    max_steps: int | None = Field(
        None,
        ge=1,
        description="At most so many optimizer steps, however much was accepted; bounds the time of a round.",
    )
    normalise: Literal["reply", "prompt"] = Field(
        "reply",
        description="What counts the same: each accepted reply (the gradient of expected acceptance), or each prompt, "
        "whose replies share its weight (hard prompts then count as much as easy ones).",
    )
    batch_size: int = Field(8, ge=1, description="Replies per optimizer step, in all processes together.")
    pack_tokens: int = Field(
        2048, ge=1, description="Most tokens of one forward and backward pass; bounds the memory of training."
    )
    activation_checkpointing: bool | None = Field(
        None,
        description="Compute activations again on the way back rather than keep them: for less memory, by a third"
        " slower. Left out: where memory is too short to keep them, or each process holds a part of the weights.",
    )
    heldout_share: float = Field(
        0.0, ge=0, le=0.5, description="Share of conversations held out, by which the best epoch is kept."
    )
    keep_by: Literal["loss", "score"] = Field(
        "loss",
        description="The best epoch is the one with the least loss on the held-out replies, or the one whose own greedy"
        " replies to the held-out conversations pass the selection's rules most often.",
    )
    schedule: Literal["constant", "linear", "cosine"] = Field(
        "cosine", description="How the learning rate falls to the end of a training."
    )
    warmup_share: float = Field(0.1, ge=0, lt=1, description="The share of the steps in which the learning rate rises.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's.")
    max_grad_norm: float = Field(1.0, gt=0, description="Longer gradients are made as short.")
    launch: Annotated[str, AfterValidator(_is_launch)] | None = Field(
        None,
        description="Train in several processes (accelerate launch): ddp, fsdp2, zero3, or a file of accelerate's.",
    )
    nodes: int | None = Field(
        None,
        ge=1,
        description="Launch them on so many nodes of the Ray cluster, rather than on this machine.",
    )
    gpus_per_node: int | None = Field(
        None,
        ge=0,
        description="Reserved of each node, with a process for each. Left out: the most that so many nodes have.",
    )
    cpus_per_node: int | None = Field(
        None, ge=1, description="CPUs that are reserved of each node. Left out: one for each process."
    )

    @model_validator(mode="after")
    def _score_needs_conversations(self) -> SftSettings:
        if self.keep_by == "score" and not self.heldout_share:
            raise ValueError("keep_by: score needs conversations to score on; set heldout_share, e.g. to 0.1")
        return self

    @model_validator(mode="after")
    def _nodes_are_launched_on(self) -> SftSettings:
        if self.nodes is not None and self.launch is None:
            raise ValueError(f"nodes: {self.nodes} needs launch: {', '.join(launches())}, or a file of accelerate's")
        if self.nodes is None and (self.gpus_per_node, self.cpus_per_node) != (None, None):
            raise ValueError("gpus_per_node and cpus_per_node are of nodes of a Ray cluster; say how many (nodes)")
        return self
