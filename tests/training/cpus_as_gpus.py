"""`rsft.training.process` where accelerate takes CPUs for GPUs: it holds no model in parts on CPUs, though torch and
DeepSpeed can. All else is real: two processes, gloo, weights in shards."""

from __future__ import annotations

import os
from typing import Any

os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType

from rsft.training import fitting, process, trainer

torch.distributed.init_process_group("gloo")
PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)

if "ACCELERATE_USE_DEEPSPEED" in os.environ:
    import deepspeed

    deepspeed.init_distributed(dist_backend="gloo", dist_init_required=False)
    arguments = fitting.TrainingArguments
    fitting.TrainingArguments = lambda **said: arguments(**(said | {"use_cpu": False}))

save = trainer.ReplyTrainer.save_weights


def save_weights(self: Any, **options: Any) -> None:
    kind = type(self.model_wrapped).__name__
    weights = {type(weight).__name__ for weight in self.model.parameters()}
    print(f"shards: {kind} {weights}", flush=True)
    save(self, **options)


trainer.ReplyTrainer.save_weights = save_weights

if __name__ == "__main__":
    process.main()
