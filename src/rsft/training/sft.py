"""Supervised fine-tuning on the accepted replies: TRL's SFTTrainer, with LoRA or full weights.

What TRL leaves open is settled here: the rows carry the sampled token ids and their labels (nothing is rendered or
tokenised again), no row is truncated, logits are computed only where there is a label, and the weights appear in the
run folder whole or not at all.
"""

from __future__ import annotations

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
from rsft.types import Policy


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
    micro_batch_size: int | None = Field(None, ge=1, description="Replies per forward pass; the batch size by default.")
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
            log = self._run(module, network, rows, folder.with_name(folder.name + ".work"), seed, progress)
            aside = folder.with_name(folder.name + ".part")
            shutil.rmtree(aside, ignore_errors=True)
            module.save_pretrained(aside)
            failpoints.reached("weights.written")
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(aside, folder)
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
        """Leave the network as the base model, without the adapter and without what TRL hung on it."""
        network.plain().__dict__.pop("forward", None)
        network.plain().config.use_cache = True
        network.show(network.base)
        network.module.eval()

    def _run(
        self, module: Any, network: Network, rows: Sequence[TrainingRow], work: Path, seed: int, progress: Progress
    ) -> tuple[dict[str, Any], ...]:
        import torch
        from datasets import Dataset
        from transformers import PrinterCallback
        from trl import SFTConfig

        from rsft.training.trainer import ReplyTrainer, report_progress

        micro = min(self.micro_batch_size or self.batch_size, self.batch_size)
        dataset = Dataset.from_dict({"input_ids": [r.input_ids for r in rows], "labels": [r.labels for r in rows]})
        config = SFTConfig(
            output_dir=str(work),
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=max(1, self.batch_size // micro),
            num_train_epochs=self.epochs,
            max_steps=self._steps(len(rows)),
            learning_rate=self.learning_rate,
            lr_scheduler_type=self.schedule,
            warmup_steps=self.warmup_share,
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
            train_sampling_strategy="group_by_length",
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            activation_checkpointing=False,
            # A bf16 base under fp32 adapters needs no autocast; an fp32 copy trains under it where bf16 is quick.
            bf16=self.lora is None and network.dtype == torch.bfloat16,
            fp16=False,
            use_cpu=network.device.type == "cpu",
            save_strategy="no",
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
            seed=seed % 2**32,
        )
        trainer = ReplyTrainer(
            model=module,
            args=config,
            train_dataset=dataset,
            processing_class=network.chat.tokenizer,
            callbacks=[report_progress(progress)],
        )
        trainer.remove_callback(PrinterCallback)  # the log goes into the run folder, not to the terminal
        try:
            trainer.train()
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return tuple(json.loads(json.dumps(entry)) for entry in trainer.state.log_history)


def training_rows(chat: ChatTokenizer, accepted: Sequence[Accepted]) -> list[TrainingRow]:
    """The token ids of what was accepted: the conversation as the engine read it, the reply as it was sampled."""
    return [TrainingRow(tuple(chat.prompt_ids(p.messages)), candidate.token_ids) for p, candidate in accepted]


def _full_precision_copy(network: Network, start: Policy) -> Any:
    """A copy of the starting weights in fp32, beside the network: small updates vanish in bf16."""
    import torch
    from transformers import AutoModelForCausalLM

    source = Path(start.weights) if start.weights else network.folder
    copy = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
    return copy.to(network.device).train()
