"""How many candidates come out differently when batches and order do: the share for which rounding decided.

    python -m bench.invariance                        in the precision that the model is sampled in
    python -m bench.invariance --dtype float32

The workload is drawn once as the engine would, once with other batch sizes and in the opposite order, and once in calls
of eight prompts each. Shares are of candidates whose tokens are not all the same as in the first.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench.workload import Workload, report, say
from rsft.engines.base import Request
from rsft.engines.local import LocalEngine, engine
from rsft.types import CandidateKey

_FEW = 8


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

    whole = tokens(requests)
    say("drawn as the engine would")
    again = tokens(requests)
    apart: dict[CandidateKey, tuple[int, ...]] = {}
    for first in range(0, len(prompts), _FEW):
        apart |= tokens(workload.requests(prompts[first : first + _FEW]))
    say("drawn in calls of a few prompts each")
    engine._ROWS["cpu"], engine._TOKENS["cpu"] = 100, 300
    other = tokens(requests[::-1])
    report(
        bench="invariance",
        workload=" ".join(workload.as_arguments()),
        candidates=len(whole),
        differ_when_repeated=_differing(whole, again),
        differ_with_batch_and_order=_differing(whole, other),
        differ_in_calls_of_a_few_prompts=_differing(whole, apart),
    )


def _differing(some: dict[CandidateKey, tuple[int, ...]], others: dict[CandidateKey, tuple[int, ...]]) -> float:
    return round(sum(some[key] != others[key] for key in some) / len(some), 4)


if __name__ == "__main__":
    main()
