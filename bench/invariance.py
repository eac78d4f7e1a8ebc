"""How many candidates come out differently when batches and order do: the share for which rounding decided.

    python -m bench.invariance                        in the precision that the model is sampled in
    python -m bench.invariance --dtype float32

The workload is drawn once as the engine would, once with other batch sizes and in the opposite order, and once in calls
of eight prompts each. Shares are of candidates whose tokens are not all the same as in the first.

`nats_from_fp32` is how far the log-probability that the engine gives a candidate is from the model's in fp32, a token;
`torch_nats_from_fp32` is how far the model's own in torch is, in the precision that is sampled in. Means over a part.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from bench.workload import Workload, report, say
from rsft.engines.base import Request
from rsft.engines.local import LocalEngine, engine
from rsft.models.network import Network
from rsft.types import Candidate, CandidateKey, Prompt

_FEW = 8
_PART = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    Workload.add_arguments(parser)
    workload = Workload.of(parser.parse_args())
    network = workload.network()
    prompts = workload.read(network)
    requests = workload.requests(prompts)
    local = LocalEngine(network)

    def tokens(of: Sequence[Request]) -> dict[CandidateKey, tuple[int, ...]]:
        return {candidate.key: candidate.token_ids for candidate in local.sample(network.base, of)}

    drawn = list(local.sample(network.base, requests))
    whole = {candidate.key: candidate.token_ids for candidate in drawn}
    say("drawn as the engine would")
    again = tokens(requests)
    apart: dict[CandidateKey, tuple[int, ...]] = {}
    for first in range(0, len(prompts), _FEW):
        apart |= tokens(workload.requests(prompts[first : first + _FEW]))
    say("drawn in calls of a few prompts each")
    engines, torchs = _nats_from_fp32(workload, network, prompts, drawn[:: max(1, len(drawn) // _PART)])
    engine._ROWS["cpu"], engine._TOKENS["cpu"] = 100, 300
    other = tokens(requests[::-1])
    report(
        bench="invariance",
        workload=" ".join(workload.as_arguments()),
        candidates=len(whole),
        differ_when_repeated=_differing(whole, again),
        differ_with_batch_and_order=_differing(whole, other),
        differ_in_calls_of_a_few_prompts=_differing(whole, apart),
        nats_from_fp32=engines,
        torch_nats_from_fp32=torchs,
    )


def _differing(some: dict[CandidateKey, tuple[int, ...]], others: dict[CandidateKey, tuple[int, ...]]) -> float:
    return round(sum(some[key] != others[key] for key in some) / len(some), 4)


def _nats_from_fp32(
    workload: Workload, network: Network, prompts: Sequence[Prompt], drawn: Sequence[Candidate]
) -> tuple[float, float]:
    """Mean absolute differences of log-probabilities, a token: the engine's, and the model's in torch."""
    prompt_ids = {prompt.id: network.chat.prompt_ids(prompt.messages) for prompt in prompts}
    exact = replace(workload, dtype="float32").network()
    apart = []
    for candidate in drawn:
        before, length = prompt_ids[candidate.key.prompt_id], len(candidate.token_ids)
        truth, torchs = (_logprob(of, before, candidate.token_ids) for of in (exact, network))
        apart.append((abs(candidate.model_logprob - truth) / length, abs(torchs - truth) / length))
    engine_apart, torch_apart = (sum(column) / len(apart) for column in zip(*apart, strict=True))
    return round(engine_apart, 5), round(torch_apart, 5)


def _logprob(network: Network, prompt_ids: Sequence[int], token_ids: Sequence[int]) -> float:
    """Of a reply behind a prompt, by the plain model."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([[*prompt_ids, *token_ids]], device=network.device)
        logits = network.module(ids).logits[0, len(prompt_ids) - 1 : -1]
        law = torch.log_softmax(logits.float(), -1)
        return float(law.gather(1, ids[0, len(prompt_ids) :, None]).sum())


if __name__ == "__main__":
    main()
