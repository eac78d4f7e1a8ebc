"""The Trainer of transformers, over packs instead of padded rows."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback

from rsft import failpoints
from rsft.models.attention import UnknownAttention, probe_attention, run_tokens, use_attention
from rsft.training.attention import attend
from rsft.training.base import Progress, TrainingRow
from rsft.training.packing import Pack, pack, packs

_log = logging.getLogger("rsft")


class ReplyTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose batches are packs.

    The model is multiplied with the vocabulary only where something is learnt: most tokens are a conversation's. The
    loss is the mean negative log-likelihood of the learnt tokens of a whole step, in nats, each with its row's weight.
    """

    def __init__(
        self, rows: Sequence[TrainingRow], steps: list[list[int]], most_tokens: int, *, shares: bool, **others: Any
    ) -> None:
        """`steps` are the numbers of the rows of each step, `most_tokens` of a pass; see `sharing_tokens`."""
        self._shares = shares
        self._most_tokens = most_tokens

        def packed(items: list[dict[str, Any]]) -> dict[str, Any]:
            return {"packs": self._packs([rows[number] for item in items for number in item["rows"]])}

        super().__init__(train_dataset=Dataset.from_dict({"rows": steps}), data_collator=packed, **others)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        model.train()
        total = torch.zeros((), device=self.args.device)
        for number, one in enumerate(inputs["packs"], 1):
            is_last = number == len(inputs["packs"])
            with nullcontext() if is_last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():
                    loss = self.compute_loss(model, one.to(self.args.device), num_items_in_batch=num_items_in_batch)
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def compute_loss(
        self, model: Any, inputs: Pack, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        to_attention = {"pack": inputs} if self._shares else {}
        logits_TV = run_tokens(model, inputs.ids_N, inputs.positions_N, inputs.sources_T, **to_attention)
        if len(logits_TV) != len(inputs.sources_T):  # a model that gives all of them
            logits_TV = logits_TV[inputs.sources_T]
        losses_T = torch.nn.functional.cross_entropy(logits_TV.float(), inputs.targets_T, reduction="none")
        # Processes average their gradients: each counts for as much more.
        return losses_T @ inputs.weights_T * self.accelerator.num_processes / num_items_in_batch

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """The weight of everything that is learnt in a step, in all processes."""
        weight = sum(one.weights_T.sum() for batch in batch_samples for one in batch["packs"])
        return self.accelerator.gather(torch.as_tensor(weight, device=device)).sum()

    def _get_output_dir(self, trial: Any) -> str:
        """Where the Trainer writes a checkpoint: aside, until it is whole."""
        return str(self._aside)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            failpoints.reached("checkpoint.written")
            older = checkpoint(self._work)
            (written,) = self._aside.glob("checkpoint-*")
            os.rename(written, self._work / written.name)
            if older is not None:
                shutil.rmtree(older)
        self.accelerator.wait_for_everyone()

    @property
    def _work(self) -> Path:
        return Path(self.args.output_dir)

    @property
    def _aside(self) -> Path:
        return self._work / "aside"

    @torch.no_grad()
    def mean_loss(self, rows: Sequence[TrainingRow]) -> float:
        """The loss of these rows as the model is now, in nats for each learnt token."""
        found = self._packs(rows)
        self.model.eval()
        total = torch.zeros((), device=self.args.device)
        for one in found:
            with self.compute_loss_context_manager():
                total += self.compute_loss(self.model, one.to(self.args.device), num_items_in_batch=1)
        self.model.train()
        return float(total / self.accelerator.num_processes / sum(one.weights_T.sum() for one in found))

    def _packs(self, rows: Sequence[TrainingRow]) -> list[Pack]:
        return packs(rows, self._most_tokens) if self._shares else [pack([row]) for row in rows]

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0


@contextmanager
def sharing_tokens(module: Any) -> Iterator[bool]:
    """Lets a transformers model attend over packs for a while. False, and a warning, if it can't."""
    was = module.config._attn_implementation
    try:
        probe_attention(module, "pack")
        use_attention(module, "rsft_packs", attend)
        shares = True
    except UnknownAttention as reason:
        module.set_attn_implementation(was)
        _log.warning("Replies can't share a conversation's tokens in training, so it takes longer: %s.", reason)
        shares = False
    try:
        yield shares
    finally:
        module.set_attn_implementation(was)


def checkpoint(work: Path) -> Path | None:
    """The newest whole checkpoint of a training that was interrupted."""
    return max(work.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


def saves_every(seconds: float) -> TrainerCallback:
    """A callback that has a checkpoint written once so much time has gone by since the last."""

    class Saver(TrainerCallback):  # type: ignore[misc]
        last = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            due = broadcast_object_list([time.monotonic() - self.last >= seconds])[0]  # the first process's clock
            if due and state.global_step < state.max_steps:
                control.should_save = True

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.last = time.monotonic()

    return Saver()


class KeepsBest(TrainerCallback):  # type: ignore[misc]
    """A callback that measures the loss of held-out rows after every so many steps, and keeps the best weights."""

    def __init__(self, heldout: Sequence[TrainingRow], every: int, work: Path) -> None:
        self.trainer: ReplyTrainer | None = None
        self._heldout = heldout
        self._every = every
        self._kept = work / "best.safetensors"

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self._every and state.global_step < state.max_steps:
            return
        assert self.trainer is not None
        before = [entry["heldout_loss"] for entry in state.log_history if "heldout_loss" in entry]
        loss = self.trainer.mean_loss(self._heldout)
        self.trainer.log({"heldout_loss": loss})
        if loss < min(before, default=math.inf):
            aside = self._kept.with_suffix(".part")
            save_file({name: weight.detach().cpu() for name, weight in self._trained()}, aside)
            os.replace(aside, self._kept)

    @torch.no_grad()
    def restore(self) -> None:
        """Give the model the weights that were best."""
        kept = load_file(self._kept)
        for name, weight in self._trained():
            weight.copy_(kept[name])

    def _trained(self) -> list[tuple[str, Any]]:
        assert self.trainer is not None
        return [(name, weight) for name, weight in self.trainer.model.named_parameters() if weight.requires_grad]


def report_progress(progress: Progress) -> TrainerCallback:
    """A callback that tells `progress` of each optimizer step."""

    class Reporter(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            progress(state.global_step, state.max_steps)

    return Reporter()
