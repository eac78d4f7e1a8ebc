"""Supervised fine-tuning on the accepted replies, with LoRA or full weights.

The rows carry the sampled token ids (nothing is rendered or tokenised again), no row is cut, and the weights appear in
the run folder whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from rsft import failpoints
from rsft.models.chat import ChatTokenizer
from rsft.models.network import Network, adapter_hash
from rsft.models.references import content_hash
from rsft.training.base import Accepted, Progress, TrainingResult, TrainingRow
from rsft.training.batches import apart, batches
from rsft.types import Policy

# A crash costs so much training at most.
_CHECKPOINT_SECONDS = 180.0


class Lora(BaseModel):
    """A low-rank adapter (LoRA, 2106.09685) on every linear layer but the head."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(32, ge=1)
    alpha: float | None = Field(None, gt=0, description="Scale of the update; twice the rank when left out.")
    dropout: float = Field(0.0, ge=0, lt=1)


class SftTraining(BaseModel):
    """Supervised fine-tuning on the accepted replies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fake: ClassVar[bool] = False

    lora: Lora | None = Field(Lora(), description="null trains all weights.")
    learning_rate: float = Field(5e-4, gt=0)
    epochs: float = Field(2, gt=0)
    max_steps: int | None = Field(
        None,
        ge=1,
        description="At most so many optimizer steps, however much was accepted; bounds the time of a round.",
    )
    batch_size: int = Field(8, ge=1, description="Replies per optimizer step.")
    pack_tokens: int = Field(
        2048, ge=1, description="Most tokens of one forward and backward pass; bounds the memory of training."
    )
    heldout_share: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of conversations held out: the epoch with the least loss on their replies is kept.",
    )
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup_share: float = Field(0.1, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)

    def policy_bytes(self, matrices: Sequence[tuple[int, int]], weights: int) -> int:
        """See `Trainer.policy_bytes`. Both kinds are saved in fp32."""
        if self.lora is None:
            return 4 * weights
        return 4 * self.lora.rank * sum(map(sum, matrices))

    def train(
        self,
        network: Callable[[], Network],
        accepted: Sequence[Accepted],
        start: Policy,
        folder: Path,
        seed: int,
        progress: Progress,
    ) -> TrainingResult:
        """See `Trainer.train`. With LoRA the folder holds an adapter, else all weights."""
        return self.train_rows(network(), training_rows(network().chat, accepted), start, folder, seed, progress)

    def train_rows(
        self, network: Network, rows: Sequence[TrainingRow], start: Policy, folder: Path, seed: int, progress: Progress
    ) -> TrainingResult:
        """The same, on rows of token ids."""
        import torch

        torch.manual_seed(seed)
        module = self._trainable(network, start)
        try:
            work = folder.with_name(folder.name + ".work")
            log = self._run(module, network, rows, start, work, seed, progress)
            aside = folder.with_name(folder.name + ".part")
            shutil.rmtree(aside, ignore_errors=True)
            module.save_pretrained(aside)
            failpoints.reached("weights.written")
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(aside, folder)
            shutil.rmtree(work)
        finally:
            self._release(network)
        if self.lora is not None:
            policy = Policy(hash=adapter_hash(network.base, folder), adapter=str(folder))
        else:
            policy = Policy(hash=content_hash(folder), weights=str(folder))
        return TrainingResult(policy, log)

    def _steps(self, rows: int) -> int:
        """How many optimizer steps to take: the epochs' number, or fewer."""
        of_epochs = math.ceil(math.ceil(rows / self.batch_size) * self.epochs)
        return min(of_epochs, self.max_steps or of_epochs)

    def _trainable(self, network: Network, start: Policy) -> Any:
        """The module whose parameters are trained: an adapter around the shared network, or an fp32 copy of it."""
        if self.lora is None:
            return _full_precision_copy(network, start)
        from peft import LoraConfig, get_peft_model

        network.show(network.base)
        if start.adapter is not None:
            network.wrap(start, trainable=True)
        else:
            config = LoraConfig(
                r=self.lora.rank,
                lora_alpha=self.lora.alpha or 2 * self.lora.rank,
                lora_dropout=self.lora.dropout,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            )
            network.module = get_peft_model(network.plain(), config)
        network.policy = Policy(hash="in training")
        return network.module

    def _release(self, network: Network) -> None:
        """Leave the network as the base model, without the adapter."""
        network.plain().config.use_cache = True
        network.show(network.base)
        network.module.eval()

    def _run(
        self,
        module: Any,
        network: Network,
        rows: Sequence[TrainingRow],
        start: Policy,
        work: Path,
        seed: int,
        progress: Progress,
    ) -> tuple[dict[str, Any], ...]:
        import torch
        from transformers import PrinterCallback, TrainingArguments

        from rsft.models.linear import frozen_linears
        from rsft.training.adapters import quick_adapters
        from rsft.training.trainer import (
            KeepsBest,
            ReplyTrainer,
            checkpoint,
            report_progress,
            saves_every,
            sharing_tokens,
        )

        self._begin(work, rows, start, seed)
        rows, heldout = apart(rows, self.heldout_share, seed)
        steps = batches(rows, self.batch_size, self._steps(len(rows)), seed)
        of_epoch = math.ceil(len(rows) / self.batch_size)
        best = KeepsBest(heldout, of_epoch, work) if heldout else None
        config = TrainingArguments(
            output_dir=str(work),
            per_device_train_batch_size=1,  # an item of the data set is a whole batch
            max_steps=len(steps),
            learning_rate=self.learning_rate,
            lr_scheduler_type=self.schedule,
            warmup_steps=self.warmup_share,
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            # A bf16 base under fp32 adapters needs no autocast; an fp32 copy trains under it where that is quicker.
            bf16=self.lora is None and network.dtype == torch.bfloat16 and _bf16_is_quicker(network.device),
            fp16=False,
            use_cpu=network.device.type == "cpu",
            save_strategy="steps",
            save_steps=len(steps) + 1,  # `saves_every` says when
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
            seed=seed % 2**32,
        )
        config._n_gpu = 1  # one process trains on one device: torch's DataParallel knows nothing of packs
        plain = network.plain() if self.lora else module
        with sharing_tokens(plain) as shares, frozen_linears(plain), quick_adapters(module):
            trainer = ReplyTrainer(
                rows,
                steps,
                self.pack_tokens,
                shares=shares,
                model=module,
                args=config,
                processing_class=network.chat.tokenizer,
                callbacks=[report_progress(progress), saves_every(_CHECKPOINT_SECONDS), *([best] if best else [])],
            )
            trainer.remove_callback(PrinterCallback)  # the log goes into the run folder, not to the terminal
            if best:
                best.trainer = trainer
            trainer.train(resume_from_checkpoint=str(begun) if (begun := checkpoint(work)) else None)
            if best:
                best.restore()
        return tuple(
            json.loads(json.dumps(entry | {"epoch": entry["step"] / of_epoch})) for entry in trainer.state.log_history
        )

    def _begin(self, work: Path, rows: Sequence[TrainingRow], start: Policy, seed: int) -> None:
        """Keep what an interrupted training left behind if it was this very one."""
        said = repr([self, start.hash, seed, list(rows)])
        what = hashlib.sha256(said.encode()).hexdigest()
        named = work / "training"
        if not named.is_file() or named.read_text(encoding="utf-8") != what:
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            named.write_text(what, encoding="utf-8")


def training_rows(chat: ChatTokenizer, accepted: Sequence[Accepted]) -> list[TrainingRow]:
    """The token ids of what was accepted: the conversation as the engine read it, the reply as it was sampled."""
    return [TrainingRow(tuple(chat.prompt_ids(p.messages)), candidate.token_ids) for p, candidate in accepted]


def _bf16_is_quicker(device: Any) -> bool:
    """Than fp32. CPUs without tiles for it (AMX) multiply fp32 at least as quickly."""
    import torch

    return device.type != "cpu" or torch.cpu._is_amx_tile_supported()


def _full_precision_copy(network: Network, start: Policy) -> Any:
    """A copy of the starting weights in fp32, beside the network: small updates vanish in bf16."""
    import torch
    from transformers import AutoModelForCausalLM

    source = Path(start.weights) if start.weights else network.folder
    copy = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
    return copy.to(network.device).train()
