"""Talking through a server: piece by piece, and with word of one that is away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from faulty import Faulty

import rsft
from questions import write_questions
from rsft.errors import ServerError, UserError
from rsft.loop import run
from rsft.talking import Wish, open_talk

RECIPE = """
run: runs/far
model: none/such
engine: {{type: openai, url: "{url}", model: fake, policies: none}}
prompts: {{train: train.jsonl, heldout: heldout.jsonl}}
sampling: {{candidates: 2, max_tokens: 80}}
scorers: {{short: {{type: length, max_words: 500}}}}
selection: [short >= 1]
training: {{type: "null"}}
guards: {{plateau: off}}
loop: {{iterations: 1}}
"""


def test_a_server_s_replies_come_piece_by_piece_and_one_that_left_is_told(
    fault_server: Callable[..., Faulty], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = fault_server()
    Path("far.yaml").write_text(RECIPE.format(url=server.url))
    write_questions(train=2, heldout=1)
    run(rsft.load_recipe("far.yaml"))
    folder, wish = Path("runs/far"), Wish(speakers=("base",))
    talk = open_talk(folder, wish)
    try:
        pieces = [piece.text for piece in talk.conversation.say("Where is my parcel?")]
        reply = talk.conversation.last.replies["base"]
        assert len(pieces) > 2
        assert "".join(pieces) == reply.text
        (judged,) = talk.judging.judged(talk.conversation.last.replies)
        assert judged.scores["short"].value == 1
        monkeypatch.setattr("rsft.servers.asking._AWAY_SECONDS", 0.05)
        server.stop()
        talk.engine.server.endpoint.__dict__["patience_seconds"] = 0.2  # type: ignore[attr-defined]
        with pytest.raises(UserError, match=server.url):
            talk.conversation.say("And now?").wait()
        assert len(talk.conversation.exchanges) == 1
    finally:
        talk.close()
    with pytest.raises(ServerError, match=r"Nobody listens at .*--here"):
        open_talk(folder, wish)
