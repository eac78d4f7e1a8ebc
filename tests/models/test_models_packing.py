"""Packs: each row sees its own tokens alone, what rows share is read once, and the gradient is that of single rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsft.models.attention import run_tokens
from rsft.models.linear import FrozenLinear, _halves, frozen_linears
from rsft.models.network import Network
from rsft.models.packing import Pack, ReplyRow, packs, read_tokens
from rsft.models.references import ModelFolder
from rsft.training.batches import batches
from rsft.training.trainer import sharing_tokens
from tiny import save_model

IDS = st.lists(st.integers(0, 2), max_size=40).map(tuple)
BEGINNINGS = st.sampled_from([(), (1,) * 15, (1,) * 16, (1,) * 30, (2,) * 20])


@st.composite
def families(draw: Any) -> list[ReplyRow]:
    """Rows with conversations, beginnings of these and of replies in common."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        prompt = (*draw(BEGINNINGS), *draw(BEGINNINGS), 0, *draw(IDS))
        for _ in range(draw(st.integers(1, 4))):
            reply = (*draw(BEGINNINGS), *draw(IDS), 3)
            found.append(ReplyRow(prompt, reply, draw(st.sampled_from([0.5, 1.0, 2.0]))))
    return found


def paths(pack: Pack) -> list[list[int]]:
    """For each token of a pack, the tokens that it sees, as the stretches say."""
    starts = [0, *accumulate(stretch.tokens for stretch in pack.stretches)]
    found = []
    for number, stretch in enumerate(pack.stretches):
        before = [token for place in stretch.before for token in range(starts[place], starts[place + 1])]
        blocks = [0, *accumulate(stretch.blocks)]
        for first, last in pairwise(blocks):
            for token in range(first, last):
                found.append([*before, *range(starts[number] + first, starts[number] + token + 1)])
    return found


@given(families(), st.integers(1, 300))
def test_what_is_learnt_and_what_is_seen_are_the_rows_own(rows: list[ReplyRow], most: int) -> None:
    """From a pack alone: each target with all the tokens that lead to it, and its weight, are those of the rows."""
    learnt = []
    for pack in packs(rows, most):
        sees, ids = paths(pack), pack.ids_N.tolist()
        for token, seen in enumerate(sees):
            assert pack.positions_N[token] == len(seen) - 1
        for source, target, weight in zip(
            pack.sources_T.tolist(), pack.targets_T.tolist(), pack.weights_T.tolist(), strict=True
        ):
            learnt.append((tuple(ids[token] for token in sees[source]), target, weight))
    wanted = [
        ((*row.prompt_ids, *row.reply_ids[:number]), target, row.weight)
        for row in rows
        for number, target in enumerate(row.reply_ids)
    ]
    assert sorted(learnt) == sorted(wanted)


@given(families(), st.integers(1, 300))
def test_packs_keep_to_their_size_and_read_nothing_twice(rows: list[ReplyRow], most: int) -> None:
    found = packs(rows, most)
    longest = max(len(row.read_ids) for row in rows)
    assert all(len(pack.ids_N) <= max(most, longest) for pack in found)
    (whole,) = packs(rows, 10**6)
    assert len(whole.ids_N) == read_tokens(rows) <= sum(len(row.read_ids) for row in rows)


def test_a_conversation_is_read_once_for_its_replies_and_a_system_prompt_for_all() -> None:
    system, one, other = tuple(range(100, 140)), tuple(range(200, 230)), tuple(range(300, 330))
    rows = [ReplyRow((*system, *turn), (reply, 7, 8, 9)) for turn in (one, other) for reply in (1, 2, 3)]
    assert read_tokens(rows) == 40 + 2 * (30 + 3 * 3)


def some_rows() -> list[ReplyRow]:
    lot = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(lot.randrange(200) for _ in range(count))

    system, rows = tokens(40), []
    for replies in (1, 3, 2, 3):
        prompt, beginning = (*system, *tokens(lot.randrange(20, 60))), tokens(18)
        rows += [
            ReplyRow(prompt, (*(beginning if number else ()), *tokens(lot.randrange(1, 30))), lot.choice([1.0, 0.5]))
            for number in range(replies)
        ]
    anchor = ReplyRow(rows[0].prompt_ids[:30], tokens(5), 0.25)
    return [*rows, anchor, ReplyRow(tokens(20), tokens(1))]


def gradient(module: Any, teach: Callable[[], None]) -> torch.Tensor:
    module.zero_grad()
    teach()
    return torch.cat([weight.grad.flatten() for weight in module.parameters() if weight.grad is not None])


@pytest.mark.parametrize("most", [10_000, 150])
@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("llama", {}),
        ("qwen3", {}),
        ("gemma2", {"sliding_window": 32}),
        ("gemma3_text", {"sliding_window": 16}),
        ("mistral", {"sliding_window": 24}),
    ],
    ids=["llama", "qwen3", "gemma2", "gemma3", "mistral"],
)
def test_the_gradient_is_that_of_one_row_at_a_time(
    tmp_path: Path, architecture: str, options: dict[str, int], most: int
) -> None:
    folder = save_model(tmp_path / "model", architecture=architecture, **options)
    module = Network.load(ModelFolder("tiny", folder), dtype="float32").module
    module.set_attn_implementation("eager")
    rows = some_rows()

    def singly() -> None:
        for row in rows:
            read, taught = (torch.tensor(ids, device=module.device) for ids in (row.read_ids, row.reply_ids))
            logits = module(read[None]).logits[0, len(row.prompt_ids) - 1 :]
            losses = torch.nn.functional.cross_entropy(logits, taught, reduction="sum")
            (losses * row.weight).backward()

    def together() -> None:
        with sharing_tokens(module) as shares:
            assert shares
            for pack in packs(rows, most):
                logits = run_tokens(module, pack.ids_N, pack.positions_N, pack.sources_T, pack=pack)
                losses = torch.nn.functional.cross_entropy(logits, pack.targets_T, reduction="none")
                (losses @ pack.weights_T).backward()

    one, other = gradient(module, singly), gradient(module, together)
    assert (one - other).norm() <= 1e-4 * one.norm()
    assert module.config._attn_implementation == "eager", "the model is left as it was"


@pytest.mark.skipif(_halves() is None, reason="this processor has no fp16 products, or quicker ones")
def test_a_gradient_passes_through_frozen_layers() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(100, 50), torch.nn.Linear(50, 30, bias=False)).bfloat16()
    module.requires_grad_(False)
    module.device = torch.device("cpu")  # type: ignore[assignment]
    x, towards = torch.randn(40, 100).bfloat16(), torch.randn(40, 30).bfloat16()

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        at = x.clone().requires_grad_()
        y = module(at)
        y.backward(towards)
        assert at.grad is not None
        return y.detach().float(), at.grad.float()

    plain = run()
    with frozen_linears(module):
        assert all(type(layer) is FrozenLinear for layer in module)
        quick = run()
    assert all(type(layer) is torch.nn.Linear for layer in module)
    for one, other in zip(plain, quick, strict=True):
        assert (one - other).norm() < 1e-2 * one.norm()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 9), st.integers(1, 30), st.integers(0, 3))
def test_an_epoch_has_every_row_once(prompts: list[int], size: int, steps: int, seed: int) -> None:
    rows = [ReplyRow((prompt,), (number,)) for number, prompt in enumerate(prompts)]
    found = batches(rows, size, steps, seed)
    assert len(found) == steps
    of_epoch = -(-len(rows) // size)
    for first in range(0, steps - of_epoch + 1, of_epoch):
        epoch = found[first : first + of_epoch]
        assert sorted(number for batch in epoch for number in batch) == list(range(len(rows)))
        assert max(map(len, epoch)) <= size
        assert max(map(len, epoch)) - min(map(len, epoch)) <= 1
        order = [rows[number].prompt_ids for batch in epoch for number in batch]
        changes = sum(one != other for one, other in pairwise(order))
        assert changes == len(set(order)) - 1, "replies to one conversation are neighbours"
