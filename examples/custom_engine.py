"""Two engines of one's own, which a recipe names by file and name:

    engine: examples/custom_engine.py:Generate

    sampling:
      generators:
        - {type: examples/custom_engine.py:service, url: http://127.0.0.1:9000/reply}

`service`, a function, gets a list of requests and gives a text for each, or None where there is none: then that
candidate failed. It is told of no policy, so it writes what a policy is to learn from. `Generate`, a class, samples
from the policies that the run trains, by nothing but transformers.
"""

import json
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pydantic import PrivateAttr
from transformers import AutoModelForCausalLM, GenerationConfig, LogitsProcessor, LogitsProcessorList
from transformers.generation import logits_process as cuts

from rsft import Policy, SamplingParams
from rsft.engines import OwnEngine, Request, Written


def service(requests: Sequence[Request], url: str, timeout: float = 60) -> list[str | None]:
    """What a service that is no chat server answers: it gets a text and a seed, and tells a text."""
    return [ask(url, one.prompt.messages[-1].content, one.seed % 2**32, timeout) for one in requests]


def ask(url: str, text: str, seed: int, timeout: float) -> str | None:
    body = json.dumps({"text": text, "seed": seed}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:  # what it raises is why the candidate failed
        reply = json.load(answer).get("reply")
    return reply if isinstance(reply, str) else None


class Generate(OwnEngine):
    """Replies by the `generate` of transformers."""

    trained = ("adapter", "weights")
    _student: Any = PrivateAttr()
    _policy: Policy | None = PrivateAttr(None)
    _model: Any = PrivateAttr(None)

    def prepare(self, student: Any) -> None:
        self._student = student

    def replies(self, policy: Policy, requests: Sequence[Request]) -> list[Written]:
        model, chat, law = self._loaded(policy), self._student.chat, requests[0].params
        if any(one.params != law for one in requests):  # one law at a time
            return [said for one in requests for said in self.replies(policy, [one])]
        prompts = [chat.prompt_ids(one.prompt.messages) for one in requests]
        width = max(map(len, prompts))
        # Padding, which the mask hides; of a token that is there anyway, for a penalty on repetitions sees it.
        left = [ids[:1] * (width - len(ids)) for ids in prompts]
        with torch.inference_mode():
            out = model.generate(
                torch.tensor([pad + ids for pad, ids in zip(left, prompts, strict=True)]),
                attention_mask=torch.tensor(
                    [[0] * len(pad) + [1] * len(ids) for pad, ids in zip(left, prompts, strict=True)]
                ),
                max_new_tokens=law.max_tokens,
                do_sample=False,  # the noise that `Drawn` adds makes the likeliest token a sampled one
                logits_processor=drawn(law, [one.seed for one in requests]),
                eos_token_id=sorted(chat.stop_ids),
                pad_token_id=chat.end_of_turn,
            )
        return [self._written(row[width:].tolist()) for row in out]

    def release(self) -> None:
        self._policy = self._model = None

    def _loaded(self, policy: Policy) -> Any:
        """The policy's model. One at a time is in memory."""
        if policy != self._policy:
            self.release()
            base = str(self._student.folder.path)
            self._model = AutoModelForCausalLM.from_pretrained(policy.weights or base, dtype=torch.float32)
            self._model.generation_config = GenerationConfig()  # the model's own would add to the recipe's law
            if policy.adapter is not None:
                from peft import PeftModel

                self._model = PeftModel.from_pretrained(self._model, policy.adapter)
            self._policy = policy
        return self._model.eval()

    def _written(self, ids: list[int]) -> Written:
        """The reply up to the token that ends its turn; without one, the length limit cut it."""
        end = next((place for place, token in enumerate(ids, 1) if token in self._student.chat.stop_ids), None)
        return Written(self._student.chat.decode(ids[:end]), tuple(ids[:end]), cut=end is None)


class Drawn(LogitsProcessor):
    """Adds Gumbel noise, which makes the highest logit a draw from the softmax. Each row has random numbers of its own,
    so that a reply does not hang on who shares its batch."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.streams = [np.random.Generator(np.random.Philox(key=seed)) for seed in seeds]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        return scores + torch.tensor(np.stack([stream.gumbel(size=scores.shape[-1]) for stream in self.streams]))


def drawn(law: SamplingParams, seeds: Sequence[int]) -> LogitsProcessorList:
    """The recipe's sampling law, in rsft's order: penalty, temperature, top-k, top-p, min-p; then the draw."""
    steps: list[Any] = []
    if law.repetition_penalty != 1:
        steps.append(cuts.RepetitionPenaltyLogitsProcessor(law.repetition_penalty))
    if law.temperature > 0:
        steps.append(cuts.TemperatureLogitsWarper(law.temperature))
        steps += [cuts.TopKLogitsWarper(law.top_k)] if law.top_k else []
        steps += [cuts.TopPLogitsWarper(law.top_p)] if law.top_p < 1 else []
        steps += [cuts.MinPLogitsWarper(law.min_p)] if law.min_p else []
        steps.append(Drawn(seeds))
    return LogitsProcessorList(steps)
