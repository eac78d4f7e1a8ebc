"""TRL's SFTTrainer, with the loss where the labels are."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback
from trl import SFTTrainer

from rsft.training.base import IGNORED, Progress


class ReplyTrainer(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer that multiplies with the vocabulary only at positions that carry a label.

    Most tokens of a row are the conversation's. Off a GPU, TRL computes their logits and masks them afterwards; with
    49,000 entries in the vocabulary of a small model that is a large part of the work. The loss is the same: the mean
    negative log-likelihood of the batch's labelled tokens, in nats.
    """

    _head_is_all: bool | None = None

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels_BL = inputs["labels"][:, 1:]
        taught_BL = labels_BL != IGNORED
        plain = self.accelerator.unwrap_model(model)
        plain = plain.get_base_model() if hasattr(plain, "peft_config") else plain
        # Rows are padded at their end, where causal attention never looks: without a mask it runs its quicker kernel.
        ids_BL = inputs["input_ids"]
        if self._head_is_all is None:
            self._head_is_all = head_is_all(plain, ids_BL)
        if self._head_is_all:
            hidden_BLD = plain.base_model(input_ids=ids_BL, use_cache=False).last_hidden_state[:, :-1]
            logits_TV = plain.get_output_embeddings()(hidden_BLD[taught_BL]).float()
        else:
            logits_TV = plain(input_ids=ids_BL, use_cache=False).logits[:, :-1][taught_BL].float()
        total = torch.nn.functional.cross_entropy(logits_TV, labels_BL[taught_BL], reduction="sum")
        loss = total / (taught_BL.sum() if num_items_in_batch is None else num_items_in_batch)
        return (loss, {}) if return_outputs else loss


@torch.no_grad()
def head_is_all(model: Any, ids_BL: Any) -> bool:
    """Whether the logits are the output layer's product: some architectures cap or scale it afterwards (Gemma 2)."""
    few = ids_BL[:1, :16]
    hidden = model.base_model(input_ids=few, use_cache=False).last_hidden_state
    logits = model(input_ids=few, use_cache=False).logits
    return bool(torch.allclose(model.get_output_embeddings()(hidden).float(), logits.float(), rtol=1e-4, atol=1e-4))


def report_progress(progress: Progress) -> TrainerCallback:
    """A callback that tells `progress` of each optimizer step."""

    class Reporter(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            progress(state.global_step, state.max_steps)

    return Reporter()
