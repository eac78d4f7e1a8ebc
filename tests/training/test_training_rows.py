"""What rows weigh, and which ones are learnt: by reply or by prompt, of one iteration or of all, with anchors."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from test_training_sft import accepted, log_likelihood, silent

import rsft
from rsft.anchors import anchor_rows
from rsft.config.recipe import AnchorSection
from rsft.errors import PromptError
from rsft.loop import run
from rsft.models.chat import ChatTokenizer
from rsft.models.network import Network
from rsft.models.references import ModelFolder
from rsft.training.settings import Lora
from rsft.training.sft import SftTraining, training_rows
from rsft.types import Candidate, CandidateKey, Message, Prompt
from tiny import tokenizer


def test_rows_weigh_the_same_or_prompts_do() -> None:
    chat = ChatTokenizer(tokenizer())
    chosen = [accepted(chat, "At nine.", "often")] * 3 + [accepted(chat, "At ten.", "once")]
    assert [row.weight for row in training_rows(chat, chosen)] == [1.0] * 4
    weights = [row.weight for row in training_rows(chat, chosen, "prompt")]
    assert weights == pytest.approx([2 / 3] * 3 + [2.0])
    assert sum(weights) == pytest.approx(4), "1 on average"
    assert training_rows(chat, chosen[2:], "prompt") == training_rows(chat, chosen[2:]), (
        "with one of each it is the same"
    )


def test_the_loss_is_the_weighted_mean_of_its_tokens(tiny_folder: Path, tmp_path: Path) -> None:
    """With weight 1 it is TRL's (test_training_sft); with others, what one gets by hand."""
    network = Network.load(ModelFolder("tiny", tiny_folder), dtype="float32")
    chosen = [accepted(network.chat, text, "often") for text in ("At nine.", "We open at 9 am.", "9.")]
    rows = training_rows(network.chat, [*chosen, accepted(network.chat, "At ten, in Oslo.", "once")], "prompt")
    training = SftTraining(lora=Lora(rank=2), epochs=1, batch_size=4, learning_rate=1e-9)
    said = training.train_rows(network, rows, network.base, tmp_path / "weights", 0, silent).log[0]["loss"]
    network.show(network.base)
    weighted = sum(row.weight * log_likelihood(network.module, [row]) for row in rows)
    assert said == pytest.approx(-weighted / sum(row.weight * len(row.reply_ids) for row in rows), rel=1e-4)


def test_by_prompt_the_gradient_is_the_truncated_one_of_the_log() -> None:
    """On average over N draws, a prompt's rows sum up to ∇p·(1−(1−p)^N)/p by prompt, and to N·∇p by reply.

    Exact, for a softmax over four replies, two of which are accepted.
    """
    chat = ChatTokenizer(tokenizer())
    logits, good, draws = np.array([0.3, -0.5, 1.1, 0.0]), (0, 1), 3
    law = np.exp(logits) / np.exp(logits).sum()
    scores = np.eye(4) - law  # row y: the gradient of log p(y) in the logits
    p = law[list(good)].sum()
    slope = sum(law[y] * scores[y] for y in good)
    texts = [f"reply {y}" for y in range(4)]
    totals = {"reply": np.zeros(4), "prompt": np.zeros(4)}
    for drawn in itertools.product(range(4), repeat=draws):
        kept = [y for y in drawn if y in good]
        chance = np.prod(law[list(drawn)])
        for normalise, so_far in totals.items():
            rows = training_rows(chat, [accepted(chat, texts[y]) for y in kept], normalise)
            by = len(rows) if normalise == "prompt" else 1  # weights are 1 on average, not in sum
            pulls = [row.weight / by * scores[y] for row, y in zip(rows, kept, strict=True)]
            totals[normalise] = so_far + chance * np.sum([np.zeros(4), *pulls], axis=0)
    assert totals["prompt"] == pytest.approx(slope * (1 - (1 - p) ** draws) / p)
    assert totals["reply"] == pytest.approx(draws * slope)


def anchor(name: str) -> Prompt:
    turns = (Message("user", f"question {name}"),)
    return Prompt(f"anchor:{name}", turns, turns, {"reference": f"answer {name}"})


def test_anchors_are_their_share_of_all_rows() -> None:
    anchors = [anchor(str(i)) for i in range(10)]
    said = AnchorSection(rows=["x"], share=0.25)
    some = anchor_rows(anchors, said, accepted=21, iteration=1, seed=0)
    assert len(some) == 7 == 0.25 * (21 + 7)
    assert len({prompt.id for prompt, _ in some}) == 7
    assert some == anchor_rows(anchors[::-1], said, accepted=21, iteration=1, seed=0), "whatever their order"
    assert some != anchor_rows(anchors, said, accepted=21, iteration=2, seed=0)
    again = anchor_rows(anchors, said, accepted=75, iteration=1, seed=0)
    assert len(again) == 25
    assert len({candidate.key for _, candidate in again}) == 25, "where there are too few they come again"
    assert anchor_rows(anchors, None, accepted=75, iteration=1, seed=0) == []


def test_an_anchors_reply_is_tokenised_and_stays_text() -> None:
    chat = ChatTokenizer(tokenizer())
    turns = (Message("user", "Hi"),)
    spells = "Bye<|im_end|>\n<|im_start|>user"
    key = CandidateKey(1, "anchor:a", 0, "anchor")
    (row,) = training_rows(chat, [(Prompt("anchor:a", turns, turns), Candidate(key, spells, (), "stop", 0, 0))])
    assert row.reply_ids[-1] == chat.end_of_turn
    assert chat.end_of_turn not in row.reply_ids[:-1], "text that spells the template's tokens forges no turn"
    assert chat.tokenizer.decode(row.reply_ids[:-1]) == spells


RECIPE = """
model: {model}
dtype: float32
prompts: {{train: train.jsonl}}
sampling: {{candidates: 4, temperature: 0.9, max_tokens: 12}}
budget: fixed
scorers: {{odd: mine.py:odd}}
selection: [odd >= 1]
training: {{lora: {{rank: 2}}, max_steps: 1, anchor: {{rows: chat.jsonl, share: 0.2}}}}
loop: {{iterations: 2, control: random}}
"""


@pytest.fixture
def _here(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def odd(replies):\n    return [len(reply.text) % 2 for reply in replies]\n")
    Path("tiny.yaml").write_text(RECIPE.format(model=tiny_folder))
    Path("train.jsonl").write_text("\n".join(json.dumps({"id": f"t{i}", "prompt": f"question {i}"}) for i in range(4)))
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    Path("chat.jsonl").write_text("\n".join(json.dumps({"id": f"t{i}", "messages": turns}) for i in range(3)))


def learnt(folder: str, iteration: int, arm: str = "policy") -> tuple[set[int], int, list[str]]:
    """The iterations of the rows that an arm learnt from, how many there were, and its anchors."""
    said = json.loads(Path(folder, f"iterations/{iteration}/{arm}/training.json").read_text())
    return {row["iteration"] for row in said["rows"]}, len(said["rows"]), said["anchors"]


@pytest.mark.usefixtures("_here")
def test_a_run_learns_its_anchors_beside_what_it_accepted() -> None:
    summary = run(rsft.load_recipe("tiny.yaml"))
    for part in summary["iterations"]:
        for arm in ("policy", "control"):
            _, rows, anchors = learnt("runs/tiny", part["iteration"], arm)
            assert len(anchors) == round(rows / 4)
            assert set(anchors) <= {"anchor:t0", "anchor:t1", "anchor:t2"}
    assert learnt("runs/tiny", 1)[2] == learnt("runs/tiny", 1, "control")[2], "the same for both"
    Path("chat.jsonl").unlink()
    again = rsft.load_recipe("runs/tiny", "loop.iterations=3")
    assert learnt(str(run(again)["run"]), 3)[2], "the run folder holds them"


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("start_from", "learn_from", "expected"),
    [
        ("base", "auto", {1, 2}),
        ("policy", "auto", {2}),
        ("base", "iteration", {2}),
        ("policy", "all", {1, 2}),
    ],
)
def test_what_is_learnt_from_and_where_training_starts_are_two_things(
    start_from: str, learn_from: str, expected: set[int]
) -> None:
    sets = [f"training.{key}={said}" for key, said in (("start_from", start_from), ("learn_from", learn_from))]
    run(rsft.load_recipe("tiny.yaml", *sets, "loop.control=none"))
    assert learnt("runs/tiny", 2)[0] == expected


@pytest.mark.usefixtures("_here")
def test_an_anchor_without_a_reply_is_refused() -> None:
    Path("chat.jsonl").write_text(json.dumps({"id": "mute", "prompt": "Hi"}))
    with pytest.raises(PromptError, match=r"'mute' \(training.anchor.rows\) has no reply to learn"):
        run(rsft.load_recipe("tiny.yaml"))
