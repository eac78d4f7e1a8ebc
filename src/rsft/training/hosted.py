"""Fine-tuning at a host: OpenAI, or whatever has its fine-tuning API. The new policy is a name there."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from rsft import failpoints
from rsft.errors import TrainingError
from rsft.servers import Endpoint, Price
from rsft.servers.spending import SPENDING
from rsft.training.base import Accepted, Judge, Progress, TrainingResult
from rsft.training.chat_format import chat_lines, refused
from rsft.training.host import MARK, OVER, Host, HostedJob, step_of
from rsft.training.hosted_work import HostedWork
from rsft.types import Kind, Policy

# What OpenAI takes: fewer rows, or a larger file, it refuses.
_FEWEST_ROWS, _MOST_BYTES = 10, 512 * 10**6
# Seeds there are of 31 bits.
_SEEDS = 2**31

_log = logging.getLogger("rsft")


class HostedTraining(Endpoint):
    """Supervised fine-tuning at a host, on the accepted replies' texts."""

    fake: ClassVar[bool] = False
    trains: ClassVar[Kind] = "hosted"

    model: str = Field(min_length=1, description="The base model's name there, from which a training sets out.")
    price: None = Field(None, description="Training has one price: price_per_million.")
    max_cost: float | None = Field(
        None, gt=0, description="No training begins once trainings have cost so much, resumed or not."
    )
    price_per_million: float | None = Field(None, ge=0, description="What a million trained tokens cost there.")
    epochs: int | None = Field(
        None,
        ge=1,
        description="Times that each reply is learnt from. The host chooses it, and the next two, when left out.",
    )
    batch_size: int | None = Field(None, ge=1, description="Replies per step of the training.")
    learning_rate_multiplier: float | None = Field(None, gt=0, description="Of the host's own learning rate.")
    suffix: str | None = Field(None, min_length=1, max_length=64, description="Stands in the names of what is trained.")
    poll_seconds: float = Field(15, gt=0, description="How often the host is asked how a job stands.")
    max_hours: float = Field(24, gt=0, description="How long a job is waited for; then the run stops, resumable.")

    @field_validator("price", mode="before")
    @classmethod
    def _has_one_price(cls, price: Any) -> None:
        if price is not None:
            raise ValueError("training has one price: say price_per_million")

    @model_validator(mode="after")
    def _a_cap_needs_prices(self) -> HostedTraining:
        if self.max_cost is not None and self.price_per_million is None:
            raise ValueError("max_cost needs price_per_million, for trained tokens")
        return self

    def policy_bytes(self, matrices: Sequence[tuple[int, int]], weights: int) -> int:
        """See `Trainer.policy_bytes`. The weights stay at the host."""
        return 0

    def check_machine(self) -> None:
        """See `Trainer.check_machine`. Raises ServerError where the key is not set."""
        self.key()

    def train(
        self,
        network: Callable[[], Any],
        accepted: Sequence[Accepted],
        start: Policy,
        folder: Path,
        seed: int,
        progress: Progress,
        judge: Judge,
    ) -> TrainingResult:
        """See `Trainer.train`. The folder holds the rows as they were sent, and `hosted.json`: what came of them.

        An interruption leaves the job to go on at the host, and the next call goes on with that. Raises TrainingError
        for rows that no host takes, for a job that failed (the next call starts another), and for one that takes long.
        """
        rows = chat_lines(accepted)
        _refuse(accepted, rows)
        identity = self._identity(rows, start, seed)
        about = HostedWork.finished(folder, identity)
        if about is None:
            work = HostedWork(folder, identity)
            about = self._about(work, rows, len(accepted), start, seed, progress)
            work.finish(rows, about)
        return TrainingResult(hosted_policy(start, about["model"]), tuple(about["log"]))

    def _identity(self, rows: str, start: Policy, seed: int) -> str:
        """What tells a training from any other at this host."""
        how = [self.url, self.epochs, self.batch_size, self.learning_rate_multiplier, self.suffix, seed]
        said = json.dumps([start.hash, start.hosted or self.model, *how, _sha256(rows)])
        return _sha256(said)[:32]

    def _about(
        self, work: HostedWork, rows: str, count: int, start: Policy, seed: int, progress: Progress
    ) -> dict[str, Any]:
        """What a training came to. Does what is not done yet of it, and writes down each thing that is."""
        if work.done.get("counted"):
            return dict(work.done["result"])
        with Host(self._endpoint) as host:
            if "result" not in work.done:
                job, log = self._trained(host, work, rows, start, seed, progress)
                cost = None
                if self.price_per_million is not None and job.trained_tokens is not None:
                    cost = job.trained_tokens * self.price_per_million / 1e6
                result = {
                    "identity": work.done["identity"],
                    "model": job.model,
                    "trained_from": start.hosted or self.model,
                    "url": self.url,
                    "job": job.id,
                    "file": work.done["file"],
                    "rows": count,
                    "rows_sha256": _sha256(rows),
                    "trained_tokens": job.trained_tokens,
                    "cost": cost,
                    "log": log,
                }
                work.note(result=result)
            host.count(work.done["result"]["trained_tokens"] or 0)
            SPENDING.write()
            work.note(counted=True)
        return dict(work.done["result"])

    def _trained(
        self, host: Host, work: HostedWork, rows: str, start: Policy, seed: int, progress: Progress
    ) -> tuple[HostedJob, list[dict[str, Any]]]:
        """The job that succeeded, and its log."""
        if "file" not in work.done:
            name = f"rsft-{work.done['identity']}.jsonl"
            work.keep_rows(rows)
            uploaded = host.upload(name, rows.encode())
            failpoints.reached("hosted.uploaded")
            work.note(file=uploaded)
        if "job" not in work.done:
            work.note(job=host.start(self._wanted(work.done, start, seed)))
        job = work.done["job"]
        try:
            return self._wait(host, work, progress)
        except KeyboardInterrupt:
            _log.warning(
                "The job %s goes on at %s, and must be paid: rsft resume waits for it again. If you don't want it any "
                "more, cancel it there.",
                job,
                self.url,
            )
            raise

    def _wanted(self, done: dict[str, Any], start: Policy, seed: int) -> dict[str, Any]:
        """The job, as it is asked for."""
        said = {
            "n_epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }
        hyperparameters = {name: value for name, value in said.items() if value is not None}
        return {
            "model": start.hosted or self.model,
            "training_file": done["file"],
            "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
            "seed": seed % _SEEDS,
            "metadata": {MARK: done["identity"]},
            **({"suffix": self.suffix} if self.suffix else {}),
        }

    def _wait(self, host: Host, work: HostedWork, progress: Progress) -> tuple[HostedJob, list[dict[str, Any]]]:
        """Wait for the job to come to its end."""
        name, until = work.done["job"], time.monotonic() + 3600 * self.max_hours
        seen = _Seen(host, progress)
        while True:
            job = host.job(name)
            failpoints.reached("hosted.polled")
            if job is None:
                raise TrainingError(
                    f"The host {self.url} knows of no job {name}. If the key is one of another project there, set the "
                    f"first one again. If the job was removed, remove {work.path}: rsft resume then starts another."
                )
            if job.status in OVER:
                work.forget_job()
                raise TrainingError(
                    f"The job {name} at {self.url} was {job.status}: {job.why}. See to the cause (the rows as they "
                    f"were sent are in {work.rows}), and go on with rsft resume: it starts another job."
                )
            seen.look(name)
            if job.status == "succeeded" and job.model is not None:
                return job, seen.log
            if time.monotonic() > until:
                raise TrainingError(
                    f"The job {name} at {self.url} is still {job.status} after {self.max_hours:g} hours of waiting "
                    "(training.max_hours). It goes on there: rsft resume waits for it again."
                )
            time.sleep(self.poll_seconds)

    @property
    def _endpoint(self) -> Endpoint:
        """The same server, as it is asked and paid for training: beside what sampling there costs."""
        said = {name: getattr(self, name) for name in Endpoint.model_fields}
        price = None if self.price_per_million is None else Price(input=self.price_per_million, output=0)
        return Endpoint.model_validate(said | {"model": f"{self.model} (fine-tuning)", "price": price})


class _Seen:
    """What a job was seen to do."""

    def __init__(self, host: Host, progress: Progress) -> None:
        self._host, self._progress = host, progress
        self._known: set[str] = set()
        self._steps: dict[int, dict[str, Any]] = {}
        # How many steps there are, the host says with the first one.
        progress(0, 1)

    def look(self, job: str) -> None:
        """Hear what is new."""
        before = max(self._steps, default=0)
        of = 0
        for event in self._host.events(job, self._known):
            self._known.add(event["id"])
            if (said := step_of(event)) is not None:
                entry, of = said
                self._steps[entry["step"]] = entry
            elif event.get("level") in ("warn", "error"):
                _log.warning("The job %s: %s", job, self._host.harmless(event.get("message")))
        reached = max(self._steps, default=0)
        if reached > before:
            self._progress(reached, max(of, reached))

    @property
    def log(self) -> list[dict[str, Any]]:
        return [self._steps[step] for step in sorted(self._steps)]


def hosted_policy(start: Policy, name: str) -> Policy:
    """What a host trained from a policy. Its hash is one of that policy's hash and of the name."""
    return Policy(_sha256(f"{start.hash}\0{name}")[:16], hosted=name)


def _refuse(accepted: Sequence[Accepted], rows: str) -> None:
    """Raise TrainingError for rows that the host would not take."""
    if len(accepted) < _FEWEST_ROWS:
        raise TrainingError(
            f"There are {len(accepted)} rows to train on, and hosts take no fewer than {_FEWEST_ROWS}. Accept more: "
            "draw more candidates (sampling.candidates), from more prompts, by other rules; or add rows "
            "(training.anchor)."
        )
    if found := refused(accepted):
        more = f" So it is with {len(found) - 1} others." if len(found) > 1 else ""
        raise TrainingError(
            f"The host would not take the rows: {found[0]}.{more} Have a rule reject such replies, or take such "
            "prompts out."
        )
    if (size := len(rows.encode())) > _MOST_BYTES:
        raise TrainingError(
            f"The rows take {size / 1e6:.0f} MB, and hosts take no more than {_MOST_BYTES / 1e6:.0f}. Accept fewer of "
            "each prompt (cap), or learn from one iteration (training.learn_from: iteration)."
        )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
