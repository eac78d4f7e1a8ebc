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
from transformers import Trainer, TrainerCallback

from rsft import failpoints
from rsft.models.attention import UnknownAttention, probe_attention, run_tokens, use_attention
from rsft.models.packed_attention import attend
from rsft.models.packing import Pack, ReplyRow, pack, packs
from rsft.training.base import Progress
from rsft.training.batches import split
from rsft.training.launch import OWN_DISK
from rsft.training.memory import is_too_short

_log = logging.getLogger("rsft")

# The passes of so many steps show how large passes are.
_LOOKED_AT = 8


class ReplyTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose batches are packs.

    The model is multiplied with the vocabulary only where something is learnt: most tokens are a conversation's. The
    loss is the mean negative log-likelihood of the learnt tokens of a whole step, in nats, each with its row's weight.
    Of several processes each learns a share of every step.
    """

    def __init__(
        self, rows: Sequence[ReplyRow], steps: list[list[int]], most_tokens: int, *, shares: bool, **others: Any
    ) -> None:
        """`steps` are the numbers of the rows of each step, `most_tokens` of a pass; see `sharing_tokens`."""
        self._rows = rows
        self._shares = shares
        self._most_tokens = most_tokens
        processes = others["args"].world_size
        parts = [part for step in steps for part in split(rows, step, processes)]
        self._first = parts[: _LOOKED_AT * processes]
        super().__init__(train_dataset=Dataset.from_dict({"rows": parts}), data_collator=self._collate, **others)

    def _collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        return {"packs": [one for item in items for one in self._packs([self._rows[row] for row in item["rows"]])]}

    def _packs(self, rows: Sequence[ReplyRow]) -> list[Pack]:
        if not rows:  # more processes than rows: this one runs all the same
            return [pack([min(self._rows, key=_length)]).idle()]
        return packs(rows, self._most_tokens) if self._shares else [pack([row]) for row in rows]

    def lacks_memory(self) -> bool:
        """Whether the activations of a pass would not fit into memory."""
        longest = max(self._rows, key=_length)
        passes = [one for part in self._first for one in self._packs([self._rows[row] for row in part])]

        def forward(tokens: int) -> None:
            row = ReplyRow(longest.read_ids[:tokens], longest.reply_ids[-1:])
            self._logits(self.model, pack([row]).to(self.args.device))

        return is_too_short(self.model, forward, [*passes, pack([longest])])

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        model.train()
        total = torch.zeros((), device=self.args.device)
        passes = self._as_many(inputs["packs"])
        for number, one in enumerate(passes, 1):
            is_last = number == len(passes)
            self.accelerator.gradient_state._set_sync_gradients(is_last)
            with nullcontext() if is_last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():
                    loss = self.compute_loss(model, one.to(self.args.device), num_items_in_batch=num_items_in_batch)
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _as_many(self, found: list[Pack]) -> list[Pack]:
        """Passes that are as many in each process: where each holds a part of the weights, all run at once."""
        count = torch.tensor([len(found)], device=self.args.device)
        most = int(self.accelerator.gather(count).max())
        return found + [found[-1].idle()] * (most - len(found))

    def compute_loss(
        self, model: Any, inputs: Pack, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        logits_TV = self._logits(model, inputs)
        losses_T = torch.nn.functional.cross_entropy(logits_TV.float(), inputs.targets_T, reduction="none")
        # Processes average their gradients: each counts for as much more.
        return losses_T @ inputs.weights_T * self.accelerator.num_processes / num_items_in_batch

    def _logits(self, model: Any, of: Pack) -> Any:
        to_attention = {"pack": of} if self._shares else {}
        logits_TV = run_tokens(model, of.ids_N, of.positions_N, of.sources_T, **to_attention)
        # Some models give all of them.
        return logits_TV if len(logits_TV) == len(of.sources_T) else logits_TV[of.sources_T]

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """The weight of everything that is learnt in a step, in all processes."""
        weight = sum(one.weights_T.sum() for batch in batch_samples for one in batch["packs"])
        return self.accelerator.gather(torch.as_tensor(weight, device=device)).sum()

    def _get_output_dir(self, trial: Any) -> str:
        """Where the Trainer writes a checkpoint: aside, until it is whole."""
        return str(self._aside)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self._tends_folder():
            shutil.rmtree(self._aside, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self._tends_folder():
            failpoints.reached("checkpoint.written")
            older = checkpoint(self._work)
            (written,) = self._aside.glob("checkpoint-*")
            os.rename(written, self._work / written.name)
            if older is not None:
                self._remove(older)
        self.accelerator.wait_for_everyone()

    def _tends_folder(self) -> bool:
        """Whether this is the process that gives checkpoints their name: the first, or where each machine has a folder
        of its own, which holds what its own processes write, the first of each."""
        return bool(self.is_local_process_zero() if OWN_DISK in os.environ else self.is_world_process_zero())

    @property
    def _work(self) -> Path:
        return Path(self.args.output_dir)

    @property
    def _aside(self) -> Path:
        return self._work / "aside"

    def save_weights(self, *, instead: bool) -> None:
        """Keep the weights of now, whole, as `weights-STEP`: beside those that were kept before, or `instead`."""
        # Where each process holds a part, all take part in bringing them together.
        state = self.accelerator.get_state_dict(self.model_wrapped) if is_sharded() else None
        if self.is_world_process_zero():
            aside, kept = self._aside / "weights", self._work / f"weights-{self.state.global_step}"
            shutil.rmtree(aside, ignore_errors=True)
            self._remove(kept)
            self.accelerator.unwrap_model(self.model_wrapped).save_pretrained(aside, state_dict=state)
            failpoints.reached("weights.written")
            os.rename(aside, kept)
            for older in self._work.glob("weights-*"):
                if instead and older != kept:
                    self._remove(older)
        self.accelerator.wait_for_everyone()

    def _remove(self, folder: Path) -> None:
        """Have a folder gone at once, whoever is reading it, if it is there."""
        if folder.is_dir():
            gone = self._aside / "gone"
            shutil.rmtree(gone, ignore_errors=True)
            self._aside.mkdir(exist_ok=True)
            os.rename(folder, gone)
            shutil.rmtree(gone)

    @torch.no_grad()
    def mean_loss(self, rows: Sequence[ReplyRow]) -> float:
        """The loss of these rows as the model is now, in nats for each learnt token."""
        found = self._packs(rows)
        self.model_wrapped.eval()
        total = torch.zeros((), device=self.args.device)
        for one in found:
            with self.compute_loss_context_manager():
                total += self.compute_loss(self.model_wrapped, one.to(self.args.device), num_items_in_batch=1)
        self.model_wrapped.train()
        mean = float(total / self.accelerator.num_processes / sum(one.weights_T.sum() for one in found))
        return float(broadcast_object_list([mean])[0])  # all processes decide by the first one's

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0


def is_sharded() -> bool:
    """Whether this process is one of several that each hold a part of the weights."""
    return any(os.environ.get(f"ACCELERATE_USE_{kind}", "").lower() == "true" for kind in ("FSDP", "DEEPSPEED"))


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
            control.should_save = due and state.global_step < state.max_steps

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.last = time.monotonic()

    return Saver()


class KeepsWeights(TrainerCallback):  # type: ignore[misc]
    """A callback that has weights kept: the last, or with `heldout` rows those after every so many steps, of which only
    those of the least loss on these rows stay if `only_best` are wanted."""

    def __init__(self, heldout: Sequence[ReplyRow], every: int, *, only_best: bool) -> None:
        self.trainer: ReplyTrainer | None = None
        self._heldout = heldout
        self._every = every
        self._only_best = only_best

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        assert self.trainer is not None
        is_last = state.global_step == state.max_steps
        if not self._heldout:
            if is_last:
                self.trainer.save_weights(instead=True)
        elif is_last or state.global_step % self._every == 0:
            before = [entry["heldout_loss"] for entry in state.log_history if "heldout_loss" in entry]
            loss = self.trainer.mean_loss(self._heldout)
            self.trainer.log({"heldout_loss": loss})
            control.should_log = True  # the step's own loss comes behind it
            best = min((one for one in before if math.isfinite(one)), default=math.inf)
            if not before or not self._only_best or loss < best:
                self.trainer.save_weights(instead=self._only_best)


def _length(row: ReplyRow) -> int:
    return len(row.read_ids)


def report_progress(progress: Progress) -> TrainerCallback:
    """A callback that tells `progress` of each optimizer step."""

    class Reporter(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            progress(state.global_step, state.max_steps)

    return Reporter()
