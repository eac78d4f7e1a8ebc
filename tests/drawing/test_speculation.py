"""Speculative rejection: only where beginnings tell, never on the prompts that measure it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from rsft.config.recipe import SpeculativeSection
from rsft.engines.base import Request
from rsft.scorers import Scorer
from rsft.scoring import Scored
from rsft.speculation import measured, spared
from rsft.types import Candidate, CandidateKey, Message, Prompt, Reply, SamplingParams, Score

PROMPTS = {f"p{i}": Prompt(f"p{i}", (Message("user", "?"),), ()) for i in range(60)}
SAID = SpeculativeSection(by="shouting", checkpoints=[8, 4], drop=0.5, min_correlation=0.5)


class Shouting(Scorer):
    """The share of capitals."""

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [Score(sum(map(str.isupper, r.text)) / max(1, len(r.text))) for r in replies]


def text(token_ids: Sequence[int]) -> str:
    return bytes(token_ids).decode()


def replies(tells: bool) -> list[Scored]:
    """Replies whose beginnings are like their ends, or not at all."""
    generator = random.Random(0)
    made = []
    for prompt_id in PROMPTS:
        for index in range(3):
            loud = generator.random()
            said = "".join("A" if generator.random() < loud else "a" for _ in range(12))
            if not tells:
                said = "".join(generator.choice("Aa") for _ in range(8)) + said[8:] * 10
            key = CandidateKey(1, prompt_id, index, "g")
            candidate = Candidate(key, said, tuple(said.encode()), "stop", 0.0, 0.0)
            made.append((candidate, {"shouting": Shouting().score([Reply(PROMPTS[prompt_id], said)])[0]}))
    return made


def test_bars_are_where_beginnings_rank_as_whole_replies_do() -> None:
    sure = measured(SAID, Shouting(), replies(tells=True), PROMPTS, text)
    assert [bar.tokens for bar in sure.bars] == [4, 8]
    assert all(bar.score is not None and bar.correlation is not None and bar.correlation > 0.6 for bar in sure.bars)
    assert sure.bars[1].n < sure.bars[0].n, "what the first bar ends never comes to the second"
    unsure = measured(SAID, Shouting(), replies(tells=False), PROMPTS, text)
    assert all(bar.score is None and bar.low is not None and bar.low < 0.5 for bar in unsure.bars)
    few = measured(SAID, Shouting(), replies(tells=True)[:10], PROMPTS, text)
    assert all(bar.score is None and bar.correlation is None for bar in few.bars)
    assert len({sure.identity[1], unsure.identity[1]}) == 1
    assert sure.identity != unsure.identity


def test_beginnings_under_the_bar_end_there_but_not_those_of_spared_prompts() -> None:
    speculation = measured(SAID, Shouting(), replies(tells=True), PROMPTS, text)
    spared_ones = [prompt_id for prompt_id in PROMPTS if spared(prompt_id)]
    assert 3 <= len(spared_ones) <= 25
    for prompt_id, prompt in PROMPTS.items():
        request = Request(CandidateKey(2, prompt_id, 0, "g"), prompt, 0, SamplingParams())
        watch = speculation.watcher(request)
        assert (watch is None) == (prompt_id in spared_ones)
        if watch:
            assert watch("aaaa", 4)
            assert watch("aaa", 3) is None, "between checkpoints nothing is asked"
            assert watch("AAAA", 4) is None
            ended = watch("aaaa", 4)
            assert ended is not None
            assert (ended.rule, ended.why[:29]) == ("speculative", "shouting = 0 after 4 tokens, ")


def test_what_is_lost_is_measured_on_whole_replies() -> None:
    speculation = measured(SAID, Shouting(), replies(tells=True), PROMPTS, text)
    loud = [c for c, said in replies(tells=True) if (said["shouting"].value or 0) > 0.9]
    quiet = [c for c, said in replies(tells=True) if (said["shouting"].value or 0) < 0.2]
    of_loud, of_quiet = (speculation.lost(some, PROMPTS, text) for some in (loud, quiet))
    assert (of_loud.share, of_quiet.share) == (0.0, 1.0)
    assert (of_loud + of_quiet).share == of_quiet.of / (of_loud.of + of_quiet.of)
    assert speculation.lost([], PROMPTS, text).share is None
