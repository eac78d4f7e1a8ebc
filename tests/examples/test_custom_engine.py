"""The engines of examples/: recipes run by them, from the base and from what is trained."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import rsft
from questions import write_questions
from rsft.engines import Request
from rsft.engines.base import stream_seed
from rsft.engines.build import engine_kind
from rsft.engines.local import LocalEngine
from rsft.loop import run
from rsft.models.network import Network
from rsft.models.references import ModelFolder
from rsft.models.student import Student
from rsft.store import RunFolder
from rsft.types import Candidate, CandidateKey, Message, Prompt, SamplingParams
from tiny_runs import SCORER

EXAMPLE = Path(__file__).parents[2] / "examples/custom_engine.py"
TEXTS = ["Hi", "What is the price of a tent?", "a" * 40]


def drawn(engine: Any, params: SamplingParams, of: range = range(4)) -> dict[CandidateKey, Candidate]:
    prompts = [Prompt(f"p{i}", (Message("user", text),), ()) for i, text in enumerate(TEXTS)]
    wanted = [
        Request(CandidateKey(1, one.id, index, "g"), one, stream_seed(0, 1, one.id, index), params)
        for one in prompts
        for index in of
    ]
    return {candidate.key: candidate for candidate in engine.sample(engine.base, wanted)}


def test_generate_is_greedy_as_the_local_engine_and_samples_by_the_seed(tiny_folder: Path) -> None:
    student = Student([str(tiny_folder)], "float32")
    kind = engine_kind(f"{EXAMPLE}:Generate")
    engine, alone = (kind.open({"batch": size}, student, Path()) for size in (8, 1))
    local = LocalEngine(Network.load(ModelFolder("tiny", tiny_folder), dtype="float32"))
    assert engine.base == local.base
    greedy = SamplingParams(temperature=0, max_tokens=12)
    ours, theirs = drawn(engine, greedy, range(1)), drawn(local, greedy, range(1))
    assert {k: (c.text, c.token_ids, c.finish_reason) for k, c in ours.items()} == {
        k: (c.text, c.token_ids, c.finish_reason) for k, c in theirs.items()
    }
    law = SamplingParams(temperature=0.9, top_p=0.9, top_k=200, min_p=0.001, repetition_penalty=1.1, max_tokens=12)
    together = drawn(engine, law)
    assert together == drawn(alone, law), "a reply does not hang on who shares its batch"
    assert len({candidate.text for candidate in together.values()}) > 6
    assert all(candidate.finish_reason in ("stop", "length") for candidate in together.values())


def test_no_padding_and_no_advice_of_the_models_changes_what_generate_writes(tiny_folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_folder, model)
    (model / "generation_config.json").write_text('{"repetition_penalty": 3.0, "temperature": 0.1}')
    student = Student([str(model)], "float32")
    engine = engine_kind(f"{EXAMPLE}:Generate").open({"batch": 8}, student, Path())
    local = LocalEngine(Network.load(ModelFolder("tiny", model), dtype="float32"))
    for penalty in (1.0, 3.0):  # at 3 the local engine says the token 0
        law = SamplingParams(temperature=0, max_tokens=60, repetition_penalty=penalty)
        ours, theirs = drawn(engine, law, range(1)), drawn(local, law, range(1))
        assert {k: c.token_ids for k, c in ours.items()} == {k: c.token_ids for k, c in theirs.items()}
    assert any(0 in candidate.token_ids for candidate in theirs.values())


def test_what_generate_draws_follows_the_models_probabilities(tiny_folder: Path) -> None:
    import torch

    student = Student([str(tiny_folder)], "float32")
    engine = engine_kind(f"{EXAMPLE}:Generate").open({"batch": 256}, student, Path())
    candidates = drawn(engine, SamplingParams(temperature=0.2, max_tokens=1), range(1000)).values()
    first = [c.token_ids[0] for c in candidates if c.key.prompt_id == "p0"]
    ids = student.chat.prompt_ids((Message("user", "Hi"),))
    with torch.inference_mode():
        law = (student.network.module(input_ids=torch.tensor([ids])).logits[0, -1].float() / 0.2).softmax(-1)
    token = int(law.argmax())
    p = float(law[token])
    assert abs(first.count(token) / 1000 - p) < 4 * (p * (1 - p) / 1000) ** 0.5


@pytest.mark.parametrize("lora", ["{rank: 4}", "null"])
def test_a_recipe_runs_by_generate_and_learns(
    lora: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_questions(train=4, heldout=3)
    Path("mine.py").write_text(SCORER)
    Path("own.yaml").write_text(
        f"model: {tiny_folder}\ndtype: float32\nengine: {EXAMPLE}:Generate\n"
        "prompts: {train: train.jsonl, heldout: heldout.jsonl}\n"
        "sampling: {candidates: 4, temperature: 0.9, max_tokens: 12}\n"
        "scorers: {odd: 'mine.py:odd'}\nselection: [odd >= 1]\n"
        f"training: {{lora: {lora}, learning_rate: 3.0e-2, epochs: 2, batch_size: 4}}\n"
        "evaluation: {samples: 0}\nguards: {plateau: off}\nloop: {iterations: 2, control: none}\n"
    )
    recipe = rsft.load_recipe("own.yaml")
    summary = run(recipe)
    assert summary["finished"]
    assert summary["fakes"] == []
    assert run(recipe) == summary
    with RunFolder.open(Path(recipe.run), write=False) as folder:
        candidates = [c for c in folder.candidates() if c.key.iteration]
        laws = folder.ledger.generators()
        trained = {folder.policies.of(iteration, "policy") for iteration in (1, 2)}
    assert {laws[c.key.generator]["engine"] for c in candidates} == {"Generate"}
    policies = {laws[c.key.generator]["policy"] for c in candidates}
    assert {policy.hash for policy in trained if policy} & policies, "it sampled from what was trained"
    assert not any(candidate.retokenised for candidate in candidates)


@contextmanager
def serving(answers: Any) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"reply": answers(asked)}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/reply"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_service_writes_what_the_model_learns_from(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_questions(train=5, heldout=2)
    Path("mine.py").write_text(SCORER)

    def answer(asked: dict[str, Any]) -> str | None:
        if "question 3" in asked["text"]:
            return None
        return f"You asked: {asked['text']}." + "!" * (asked["seed"] % 2)

    with serving(answer) as url:
        Path("taught.yaml").write_text(
            f"model: {tiny_folder}\ndtype: float32\n"
            "prompts: {train: train.jsonl, heldout: heldout.jsonl}\n"
            "sampling:\n  candidates: 4\n  max_tokens: 60\n"
            f"  generators: [{{type: '{EXAMPLE}:service', url: '{url}', batch: 3}}]\n"
            "scorers: {odd: 'mine.py:odd'}\nselection: [odd >= 1]\n"
            "training: {lora: {rank: 4}, epochs: 1, batch_size: 4}\n"
            "evaluation: {samples: 0}\nguards: {plateau: off}\nloop: {iterations: 1, control: none}\n"
        )
        summary = run(rsft.load_recipe("taught.yaml"))
    assert summary["finished"]
    with RunFolder.open(tmp_path / "runs/taught", write=False) as folder:
        candidates = [c for c in folder.candidates(iteration=1) if c.key.prompt_id.startswith("train")]
    answered = [c for c in candidates if c.finish_reason == "stop"]
    failed = [c for c in candidates if c.finish_reason == "failed"]
    assert {c.key.prompt_id for c in failed} == {"train3"}
    assert {c.why for c in failed} == {"it gave no reply"}
    assert all(c.text.startswith("You asked: question") and c.retokenised for c in answered)
    assert len(answered) >= 4
