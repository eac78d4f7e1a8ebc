"""A training, from its job to the weights: in this process alone, or in it as one of several that do the same."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, PrinterCallback, TrainingArguments

from rsft.models.devices import leave_unused_memory
from rsft.models.linear import frozen_linears
from rsft.models.network import Network, check_there
from rsft.models.steps import quick_steps
from rsft.training.adapters import quick_adapters
from rsft.training.base import Progress
from rsft.training.batches import batches
from rsft.training.job import Job
from rsft.training.settings import Lora, SftSettings
from rsft.training.trainer import (
    KeepsWeights,
    ReplyTrainer,
    checkpoint,
    is_sharded,
    report_progress,
    saves_every,
    sharing_tokens,
)
from rsft.types import Policy

# A crash costs so much training at most.
_CHECKPOINT_SECONDS = 180.0


def fit(network: Network, job: Job, progress: Progress) -> None:
    """Train, and leave weights and log in the job's folder. The network shows the base model afterwards."""
    torch.manual_seed(job.seed)
    module = _trainable(network, job.settings.lora, job.start)
    try:
        _train(module, network, job, progress)
    finally:
        network.plain().config.use_cache = True
        network.plain().activation_checkpointing_disable()
        network.show(network.base)
        network.module.eval()
        leave_unused_memory(network.device)  # those that sample next may be other processes


def _trainable(network: Network, lora: Lora | None, start: Policy) -> Any:
    """The module whose parameters are trained: an adapter around the shared network, or an fp32 copy of it."""
    check_there(start)
    if lora is None:
        # Beside the network, in fp32: small updates vanish in bf16.
        source = start.weights or network.folder
        copy = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
        return copy.to(network.device).train()
    network.show(network.base)
    if start.adapter is not None:
        network.wrap(start, trainable=True)
    else:
        config = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha or 2 * lora.rank,
            lora_dropout=lora.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        network.module = get_peft_model(network.plain(), config)
    network.policy = Policy(hash="in training")
    return network.module


def _train(module: Any, network: Network, job: Job, progress: Progress) -> None:
    settings = job.settings
    plain = network.plain() if settings.lora else module
    # What does a layer's work more quickly reads all of its weights.
    whole = not is_sharded()
    with (
        sharing_tokens(plain) as shares,
        quick_steps(plain, wanted=whole),
        frozen_linears(plain, wanted=whole),
        quick_adapters(module, wanted=whole),
    ):
        keeps = KeepsWeights(job.heldout, job.steps_of_epoch, only_best=settings.keep_by == "loss")
        trainer = ReplyTrainer(
            job.rows,
            batches(job.rows, settings.batch_size, job.steps, job.seed),
            settings.pack_tokens,
            shares=shares,
            model=module,
            args=_arguments(network, job),
            processing_class=network.chat.tokenizer,
            callbacks=[report_progress(progress), saves_every(_CHECKPOINT_SECONDS), keeps],
        )
        trainer.remove_callback(PrinterCallback)  # the log goes into the run folder, not to the terminal
        keeps.trainer = trainer
        trainer.args.activation_checkpointing = _recomputes(trainer, settings)
        trainer.train(resume_from_checkpoint=str(begun) if (begun := checkpoint(job.work)) else None)
    if trainer.is_world_process_zero():
        job.finish([entry | {"epoch": entry["step"] / job.steps_of_epoch} for entry in trainer.state.log_history])


def _recomputes(trainer: ReplyTrainer, settings: SftSettings) -> bool:
    """Whether activations are computed again on the way back."""
    if settings.activation_checkpointing is not None:
        return settings.activation_checkpointing
    # Where the weights are in parts, memory is what one is short of.
    return is_sharded() or bool(broadcast_object_list([trainer.lacks_memory()])[0])


def _arguments(network: Network, job: Job) -> TrainingArguments:
    settings = job.settings
    is_on_cpu = not torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(job.work),
        per_device_train_batch_size=1,  # an item of the data set is what a process learns in a step
        max_steps=job.steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_share,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        # A bf16 base under fp32 adapters needs no autocast; an fp32 copy trains under it where that is quicker: CPUs
        # without tiles for bf16 (AMX) multiply fp32 at least as quickly.
        bf16=settings.lora is None
        and network.dtype == torch.bfloat16
        and (not is_on_cpu or torch.cpu._is_amx_tile_supported()),
        fp16=False,
        activation_checkpointing_kwargs={"use_reentrant": False},
        use_cpu=is_on_cpu,
        ddp_find_unused_parameters=False,
        save_strategy="steps",
        save_steps=job.steps + 1,  # `saves_every` says when
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=job.seed % 2**32,
    )
    arguments._n_gpu = 1  # one process trains on one device: torch's DataParallel knows nothing of packs
    return arguments
