"""Supervised fine-tuning on the accepted replies, with LoRA or full weights.

The rows carry the sampled token ids (nothing is rendered or tokenised again), no row is cut, and the weights appear in
the run folder whole or not at all.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from rsft import failpoints
from rsft.errors import PromptError
from rsft.models.chat import ChatTokenizer
from rsft.models.network import Network, adapter_hash
from rsft.models.packing import ReplyRow
from rsft.models.references import content_hash
from rsft.training.base import Accepted, Judge, Progress, TrainingResult
from rsft.training.batches import apart
from rsft.training.job import Job
from rsft.training.settings import SftSettings
from rsft.types import Kind, Policy


class SftTraining(SftSettings):
    """Supervised fine-tuning on the accepted replies."""

    fake: ClassVar[bool] = False

    @property
    def trains(self) -> Kind:
        return "weights" if self.lora is None else "adapter"

    def policy_bytes(self, matrices: Sequence[tuple[int, int]], weights: int) -> int:
        """See `Trainer.policy_bytes`. Both kinds are saved in fp32."""
        if self.lora is None:
            return 4 * weights
        return 4 * self.lora.rank * sum(map(sum, matrices))

    def check_machine(self) -> None:
        """See `Trainer.check_machine`."""
        if self.nodes is not None:
            from rsft.training.nodes.cluster import check

            check(self)
        elif self.launch is not None:
            from rsft.training.launch import processes

            processes(self.launch)

    def train(
        self,
        network: Callable[[], Network],
        accepted: Sequence[Accepted],
        start: Policy,
        folder: Path,
        seed: int,
        progress: Progress,
        judge: Judge,
    ) -> TrainingResult:
        """See `Trainer.train`. With LoRA the folder holds an adapter, else all weights."""
        rows = training_rows(network().chat, accepted, self.normalise)
        _refuse_too_long(rows, accepted, network().context_length)
        prompts = {row.prompt_ids: prompt for row, (prompt, _) in zip(rows, accepted, strict=True)}

        def judge_on(policy: Policy, heldout: Sequence[ReplyRow]) -> float:
            return judge(policy, [prompts[ids] for ids in dict.fromkeys(row.prompt_ids for row in heldout)])

        return self.train_rows(network(), rows, start, folder, seed, progress, judge_on)

    def train_rows(
        self,
        network: Network,
        rows: Sequence[ReplyRow],
        start: Policy,
        folder: Path,
        seed: int,
        progress: Progress,
        judge: Callable[[Policy, Sequence[ReplyRow]], float] | None = None,
    ) -> TrainingResult:
        """The same, on rows of token ids. `judge` scores a policy on the conversations of some rows."""
        learnt, heldout = apart(rows, self.heldout_share, seed)
        job = Job(self, tuple(learnt), tuple(heldout), start, seed, folder.with_name(folder.name + ".work"))
        job.begin()
        if job.log is None:
            self._carry_out(network, job, progress)
        assert job.log is not None
        log = list(job.log)
        kept = max(job.weights)
        if self.keep_by == "score" and heldout:  # there may be one conversation only
            assert judge is not None
            scores = {step: judge(self._policy(network, weights), heldout) for step, weights in job.weights.items()}
            kept = max(scores, key=lambda step: scores[step])
            log += [{"step": step, "heldout_score": score} for step, score in scores.items()]
        chosen = job.weights[kept]
        job.forget()
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(chosen, folder)
        failpoints.reached("weights.kept")
        shutil.rmtree(job.work)
        return TrainingResult(self._policy(network, folder), tuple(log))

    def _carry_out(self, network: Network, job: Job, progress: Progress) -> None:
        """In this process, in several of this machine, or in those of several machines."""
        if self.launch is None:
            from rsft.training.fitting import fit as carry_out
        elif self.nodes is None:
            from rsft.training.launch import launch as carry_out
        else:
            from rsft.training.nodes.launch import launch as carry_out
        carry_out(network, job, progress)

    def _policy(self, network: Network, folder: Path) -> Policy:
        """The policy whose weights these are."""
        if self.lora is not None:
            return Policy(hash=adapter_hash(network.base, folder), adapter=str(folder))
        return Policy(hash=content_hash(folder), weights=str(folder))


def training_rows(chat: ChatTokenizer, accepted: Sequence[Accepted], normalise: str = "reply") -> list[ReplyRow]:
    """The token ids of what was accepted: the conversation as the engine read it, the reply as it was sampled. A reply
    that nobody sampled, an anchor's, is tokenised.

    With C accepted replies of a prompt, each of R rows of P prompts has weight 1, or normalised by prompt R/(P·C): 1 on
    average. The first sums up to the gradient of expected acceptance; the second to ∇p·(1−(1−p)^N)/p on average, the
    order-N truncation of ∇log p, which gives hard prompts their weight.
    """
    counts = Counter(prompt.id for prompt, _ in accepted)
    weights = {
        prompt_id: 1.0 if normalise == "reply" else len(accepted) / (len(counts) * count)
        for prompt_id, count in counts.items()
    }
    return [
        ReplyRow(
            tuple(chat.prompt_ids(prompt.messages)),
            candidate.token_ids or tuple(chat.reply_ids(candidate.text)),
            weights[prompt.id],
        )
        for prompt, candidate in accepted
    ]


def _refuse_too_long(rows: Sequence[ReplyRow], accepted: Sequence[Accepted], most: int) -> None:
    """Raise PromptError for an anchor that the model can't read. (What was sampled, it could.)"""
    for row, (prompt, _) in zip(rows, accepted, strict=True):
        if len(row.read_ids) > most:
            raise PromptError(
                f"The anchor row '{prompt.id}' has {len(row.read_ids)} tokens, and the model reads {most}: take it out "
                "of training.anchor.rows."
            )
