"""Training at a host: each training is paid for once, wherever it was interrupted, and says what came of it."""

from __future__ import annotations

import json
import shutil
import signal
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rsft
from fake_host import KEY, FakeHost, serving
from processes import run_rsft
from questions import write_questions
from rsft import failpoints
from rsft.cleaning import clean
from rsft.errors import ModelError, RecipeError, ServerError, TrainingError, UserError
from rsft.loop import run
from rsft.models.network import Network
from rsft.models.packing import ReplyRow
from rsft.models.references import resolve
from rsft.plan import plan
from rsft.sampling import sample_replies
from rsft.servers.spending import SPENDING
from rsft.store import RunFolder
from rsft.training.base import Accepted, TrainingResult
from rsft.training.chat_format import chat_lines, refused
from rsft.training.hosted import HostedTraining, hosted_policy
from rsft.training.settings import Lora
from rsft.training.sft import SftTraining
from rsft.types import Candidate, CandidateKey, Message, Policy, Prompt, SamplingParams

BASE = Policy("0123456789abcdef")
ODD = [
    'line\nbreaks\r\n and "quotes" \\n',
    "emoji 👩‍🚀 and 漢字",
    "<|im_end|>\n<|im_start|>assistant\n</s>[INST]",
    "separators \u2028 \u2029 \x85 \x0b \x1c end",
    "\x00 null and \x1b[31m red",
    '{"messages": []}',
    "half \ud83d of a character",
    " spaces around ",
]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    monkeypatch.setenv("HOST_KEY", KEY)
    monkeypatch.setattr("rsft.servers.asking.wait_before", lambda *_: 0.0)
    for name, value in (("_file", None), ("_spent", {})):
        monkeypatch.setattr(SPENDING, name, value)
    with serving(FakeHost()) as found:
        yield found


def rows(*replies: str) -> list[Accepted]:
    turns = (Message("system", "Be polite."), Message("user", "Where is it?"))
    return [
        (Prompt(f"p{i}", turns, turns), Candidate(CandidateKey(1, f"p{i}", 0, "g"), reply, (), "stop", 0.0, 0.0))
        for i, reply in enumerate(replies)
    ]


ROWS = rows(*(f"Here it is: {i}" for i in range(12)))


def trainer(host: FakeHost, **options: Any) -> HostedTraining:
    said = {"url": host.url, "model": "gpt-small", "key_env": "HOST_KEY", "poll_seconds": 0.001, "attempts": 3}
    return HostedTraining.model_validate(said | options)


def train(
    host: FakeHost,
    folder: Path,
    accepted: list[Accepted] = ROWS,
    start: Policy = BASE,
    progress: Callable[[int, int], None] = lambda *_: None,
    **options: Any,
) -> TrainingResult:
    return trainer(host, **options).train(
        lambda: pytest.fail("there is no network"),
        accepted,
        start,
        folder / "weights",
        7,
        progress,
        lambda *_: pytest.fail("no judge is asked"),
    )


def only_job(host: FakeHost) -> dict[str, Any]:
    (job,) = host.jobs.values()
    return job


# -- rows ------------------------------------------------------------------------------------------------------------


def test_any_text_comes_back_as_it_was() -> None:
    text = chat_lines(rows(*ODD))
    assert text.encode().decode() == text
    read = [json.loads(line) for line in text.splitlines()]
    assert [row["messages"][-1] for row in read] == [{"role": "assistant", "content": reply} for reply in ODD]
    assert read[0]["messages"][:2] == [
        {"role": "system", "content": "Be polite."},
        {"role": "user", "content": "Where is it?"},
    ]


def test_rows_that_the_format_can_not_hold_are_named() -> None:
    said = (Message("tool", "42"),)
    told = Prompt("told", said, said)
    accepted = [*rows("good", "  \n"), (told, rows("good")[0][1]), (Prompt("bare", (), ()), rows("good")[0][1])]
    empty, tool, bare = refused(accepted)
    assert "'p1'" in empty
    assert "'told'" in tool
    assert "'bare'" in bare
    assert refused(ROWS) == []


@pytest.mark.parametrize(
    ("accepted", "why"),
    [(ROWS[:9], "9 rows.*no fewer than 10.*candidates"), ([*ROWS, *rows(" ", "")], "'p0'.*empty.*1 others")],
)
def test_what_the_host_would_refuse_is_refused_before_it_is_asked(
    host: FakeHost, tmp_path: Path, accepted: list[Accepted], why: str
) -> None:
    with pytest.raises(TrainingError, match=why):
        train(host, tmp_path, accepted)
    assert host.seen == []
    assert list(tmp_path.iterdir()) == []


# -- a training ------------------------------------------------------------------------------------------------------


def test_a_training_at_a_host(host: FakeHost, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    odd = rows(*ODD[:6], *(f"Here it is: {i}" for i in range(6)))
    steps: list[tuple[int, int]] = []
    options = {"epochs": 3, "batch_size": 4, "learning_rate_multiplier": 0.5, "suffix": "shop"}
    result = train(
        host, tmp_path, odd, progress=lambda *said: steps.append(said), **options, price_per_million=25, max_cost=9
    )
    job = only_job(host)
    assert result.policy == hosted_policy(BASE, "ft:gpt-small:org:shop:0")
    assert (result.policy.adapter, result.policy.weights) == (None, None)
    assert len(result.policy.hash) == 16
    assert int(result.policy.hash, 16) >= 0
    assert [row["messages"][-1]["content"] for row in host.rows(job)] == [candidate.text for _, candidate in odd]
    assert job["model"] == "gpt-small"
    assert job["seed"] == 7
    hyperparameters = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 0.5}
    assert job["method"] == {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}
    assert [entry["step"] for entry in result.log] == [1, 2, 3, 4, 5]
    assert result.log[1] == {"step": 2, "loss": 0.5, "accuracy": 0.5}
    assert steps == [(0, 1), (1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]
    assert (tmp_path / "weights/rows.jsonl").read_bytes() == host.files[job["training_file"]]
    about = json.loads((tmp_path / "weights/hosted.json").read_text())
    assert (about["job"], about["trained_tokens"], about["cost"], about["rows"]) == (job["id"], 1200, 0.03, 12)
    (sums,) = SPENDING.sums.values()
    assert (sums["read"], sums["cost"]) == (1200, 0.03)
    assert [record.getMessage() for record in caplog.records] == ["The job ftjob-0: Slow [31m today, [key]"]


def test_what_is_left_out_the_host_chooses(host: FakeHost, tmp_path: Path) -> None:
    train(host, tmp_path)
    job = only_job(host)
    assert job["method"]["supervised"]["hyperparameters"] == {}
    assert "suffix" not in job


def test_it_goes_on_from_a_hosted_policy(host: FakeHost, tmp_path: Path) -> None:
    first = train(host, tmp_path / "1").policy
    second = train(host, tmp_path / "2", start=first).policy
    assert [job["model"] for job in host.jobs.values()] == ["gpt-small", first.hosted]
    assert len({BASE.hash, first.hash, second.hash}) == 3


def test_a_training_that_is_done_asks_nobody(host: FakeHost, tmp_path: Path) -> None:
    result = train(host, tmp_path)
    host.seen.clear()
    assert train(host, tmp_path) == result
    assert host.seen == []


def test_other_rows_are_another_training(host: FakeHost, tmp_path: Path) -> None:
    first = train(host, tmp_path).policy
    assert train(host, tmp_path, ROWS[1:]).policy != first
    assert len(host.jobs) == 2


def test_a_host_that_says_nothing_of_steps_trains_all_the_same(host: FakeHost, tmp_path: Path) -> None:
    host.says_events, host.trained_tokens = False, None
    result = train(host, tmp_path, price_per_million=25)
    assert result.log == ()
    assert result.policy.hosted
    assert json.loads((tmp_path / "weights/hosted.json").read_text())["cost"] is None


# -- a bad host ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [429, 500, "lost"])
@pytest.mark.parametrize(
    "asked",
    ["POST /v1/files", "POST /v1/fine_tuning", "GET /v1/fine_tuning/jobs/ftjob-0/events", "GET /v1/fine_tuning/jobs"],
)
def test_failures_that_pass_cost_no_second_job(host: FakeHost, tmp_path: Path, asked: str, fault: int | str) -> None:
    host.faults[asked] = deque([fault, fault])
    expected = 2 if (asked, fault) == ("POST /v1/files", "lost") else 0
    assert train(host, tmp_path).policy.hosted == "ft:gpt-small:org::0"
    assert only_job(host)["status"] == "succeeded"
    assert len(host.files) == 1 + expected


@pytest.mark.parametrize("keeps_metadata", [True, False])
def test_a_job_that_was_started_and_lost_is_found_again(host: FakeHost, tmp_path: Path, keeps_metadata: bool) -> None:
    for number in range(5):  # on another page of the list by now
        train(host, tmp_path / str(number), rows(*(f"Other {number} {i}" for i in range(10))))
    host.keeps_metadata = keeps_metadata
    host.faults["POST /v1/fine_tuning"] = deque(["lost"] * 3)
    with pytest.raises(TrainingError, match=r"does not start a fine-tuning job.*rsft resume"):
        train(host, tmp_path, attempts=1)
    host.faults.clear()
    assert len(host.jobs) == 6
    train(host, tmp_path)
    assert len(host.jobs) == 6


def test_a_job_is_found_by_its_identity_where_the_folder_was_lost(host: FakeHost, tmp_path: Path) -> None:
    first = train(host, tmp_path).policy
    shutil.rmtree(tmp_path / "weights")
    assert train(host, tmp_path).policy == first
    assert len(host.jobs) == 1
    shutil.rmtree(tmp_path / "weights")
    host.removed_models.add(str(first.hosted))
    assert train(host, tmp_path).policy != first, "a model that was removed is of no use"
    assert len(host.jobs) == 2


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_refusal_says_what_to_do_and_never_the_key(host: FakeHost, tmp_path: Path, status: int) -> None:
    host.faults["POST /v1/fine_tuning"] = deque([status] * 3)
    with pytest.raises(UserError) as caught:
        train(host, tmp_path)
    assert host.url in str(caught.value)
    assert KEY not in repr(caught.value)


def test_a_failed_job_says_why_and_the_next_call_starts_another(host: FakeHost, tmp_path: Path) -> None:
    host.fails.append(f"moderation: {KEY} \x1b[2J is\nnot allowed")
    with pytest.raises(TrainingError) as caught:
        train(host, tmp_path)
    said = str(caught.value)
    assert "ftjob-0" in said
    assert "failed: moderation: [key] [2J is not allowed" in said
    assert "rsft resume" in said
    assert (tmp_path / "weights.work/rows.jsonl").read_bytes() == host.files["file-0"]
    assert str(tmp_path / "weights.work/rows.jsonl") in said
    assert not (tmp_path / "weights").exists()
    assert train(host, tmp_path).policy.hosted
    assert [job["status"] for job in host.jobs.values()] == ["failed", "succeeded"]


def test_a_cancelled_job_is_told_from_a_failed_one(host: FakeHost, tmp_path: Path) -> None:
    host.states = ("cancelled",)
    with pytest.raises(TrainingError, match="was cancelled"):
        train(host, tmp_path)
    host.states = ("succeeded",)
    assert train(host, tmp_path).policy.hosted
    assert len(host.jobs) == 2


def test_a_job_that_takes_too_long_goes_on(host: FakeHost, tmp_path: Path) -> None:
    host.states = ("running",)
    with pytest.raises(TrainingError, match=r"still running.*max_hours.*rsft resume"):
        train(host, tmp_path, max_hours=1e-9)
    host.states = ("succeeded",)
    train(host, tmp_path)
    assert len(host.jobs) == 1


def test_a_job_that_the_host_has_forgotten(host: FakeHost, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        interrupted(host, tmp_path, "hosted.polled", 1)
    host.jobs.clear()
    with pytest.raises(TrainingError, match=r"knows of no job ftjob-0.*another project.*weights.work"):
        train(host, tmp_path)


def test_the_key_is_missed_before_anything_is_sampled(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer(host).check_machine()
    monkeypatch.delenv("HOST_KEY")
    with pytest.raises(ServerError, match="HOST_KEY is not set"):
        trainer(host).check_machine()


# -- interruptions ---------------------------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for the end of a process."""


def interrupted(host: FakeHost, folder: Path, point: str, times: int, error: type[BaseException] = Killed) -> None:
    left = [times]

    def listener(name: str) -> None:
        if name == point:
            left[0] -= 1
            if left[0] == 0:
                raise error

    with failpoints.listening(listener):
        train(host, folder, price_per_million=25)


POINTS = [
    ("hosted.uploaded", 1),
    ("hosted.file_noted", 1),
    ("hosted.started", 1),
    ("hosted.job_noted", 1),
    ("hosted.polled", 1),
    ("hosted.polled", 4),
    ("hosted.polled", 5),
    ("hosted.result_noted", 1),
    ("hosted.counted_noted", 1),
    ("hosted.kept", 1),
]


@pytest.mark.parametrize(("point", "times"), POINTS)
@pytest.mark.parametrize("keeps_metadata", [True, False])
def test_no_interruption_costs_a_second_job(
    host: FakeHost, tmp_path: Path, point: str, times: int, keeps_metadata: bool
) -> None:
    host.keeps_metadata = keeps_metadata
    with pytest.raises(Killed):
        interrupted(host, tmp_path / "a", point, times)
    result = train(host, tmp_path / "a", price_per_million=25)
    job = only_job(host)
    assert result.policy.hosted == job["fine_tuned_model"]
    assert len(result.log) == 5
    assert len(host.files) == (2 if point == "hosted.uploaded" else 1), "at most one file that nobody needs"
    (sums,) = SPENDING.sums.values()
    assert sums["requests"] == 1, "it is paid once"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["weights"]
    assert sorted(path.name for path in (tmp_path / "a/weights").iterdir()) == ["hosted.json", "rows.jsonl"]


def test_an_interruption_by_hand_leaves_the_job_and_says_so(
    host: FakeHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(host, tmp_path, "hosted.polled", 2, KeyboardInterrupt)
    assert "ftjob-0 goes on" in caplog.text
    assert "rsft resume" in caplog.text
    assert only_job(host)["status"] == "queued"
    assert train(host, tmp_path).policy.hosted
    assert len(host.jobs) == 1


def test_a_training_of_other_rows_that_was_begun_there_is_told_of(
    host: FakeHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Killed):
        interrupted(host, tmp_path, "hosted.polled", 1)
    train(host, tmp_path, ROWS[1:])
    assert "its job ftjob-0 goes on" in caplog.text
    assert len(host.jobs) == 2


def test_no_training_begins_once_all_money_is_spent(host: FakeHost, tmp_path: Path) -> None:
    SPENDING.keep_in(tmp_path / "spent.json")
    train(host, tmp_path / "1", price_per_million=1000, max_cost=1)
    with pytest.raises(ServerError, match=r"has cost 1.20, and max_cost is 1"):
        train(host, tmp_path / "2", ROWS[1:], price_per_million=1000, max_cost=1)
    assert len(host.jobs) == 1
    assert train(host, tmp_path / "2", ROWS[1:], price_per_million=1000, max_cost=2).policy.hosted


# -- whole runs ------------------------------------------------------------------------------------------------------

ENGINE = """
from rsft.engines.scripted import Script, ScriptedEngine
from rsft.types import Policy


class Hosting(ScriptedEngine):
    @classmethod
    def serves(cls, options):
        return ("hosted",)

    @classmethod
    def open(cls, options, student, folder):
        return cls(Script(replies=["nothing"]))

    @property
    def base(self):
        return Policy("hosting")

    def sample(self, policy, requests, watch=None, pace=None):
        name = policy.hosted or "base"
        lines = [f"Good {word} by {name}: {{prompt}}" for word in ("day", "morning")]
        return ScriptedEngine(Script(replies=lines)).sample(policy, requests, watch, pace)
"""
RECIPE = """
model: none
engine: {type: "hosting.py:Hosting"}
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 4, max_tokens: 90}
scorers: {polite: {type: format, pattern: "Good.*"}}
selection: [polite >= 1, {cap: 2}]
training: {type: openai, model: gpt-small, key_env: HOST_KEY, poll_seconds: 0.001, start_from: policy}
evaluation: {samples: 0}
guards: {plateau: off}
loop: {iterations: 2, control: none}
"""


def recipe_of(host: FakeHost, *overrides: str) -> rsft.Recipe:
    Path("hosting.py").write_text(ENGINE)
    Path("hosted.yaml").write_text(RECIPE)
    write_questions(train=12, heldout=3)
    return rsft.load_recipe("hosted.yaml", f"training.url={host.url}", *overrides)


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_here")
def test_the_next_iteration_samples_from_the_host(host: FakeHost) -> None:
    recipe = recipe_of(host)
    assert plan(recipe)["at_most"]["policies_mb"] == 0
    summary = run(recipe)
    first, second = host.jobs.values()
    assert (first["model"], second["model"]) == ("gpt-small", first["fine_tuned_model"])
    folder = Path(recipe.run)
    with RunFolder.open(folder, write=False) as kept:
        said = {
            iteration: {c.text.split(" by ")[1].rpartition(": ")[0] for c in kept.candidates(iteration=iteration)}
            for iteration in (1, 2)
        }
        policies = [kept.policies.of(iteration, "policy") for iteration in (1, 2)]
    assert said[1] >= {"base", first["fine_tuned_model"]}, "sampled from the base, then evaluated"
    assert said[2] == {first["fine_tuned_model"], second["fine_tuned_model"]}
    assert [policy and policy.hosted for policy in policies] == [
        first["fine_tuned_model"],
        second["fine_tuned_model"],
    ]
    assert summary["iterations"][1]["policy"]["hosted"] == second["fine_tuned_model"]
    assert run(recipe) == summary
    learnt = [row["messages"][-1]["content"] for row in host.rows(second)]
    assert len(learnt) == len(json.loads((folder / "iterations/2/policy/training.json").read_text())["rows"])
    assert all(first["fine_tuned_model"] in reply for reply in learnt)
    for file in Path().rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


@pytest.mark.usefixtures("_here")
def test_a_run_of_a_hosted_policy_can_be_moved_cleaned_asked_and_taken_over(host: FakeHost) -> None:
    recipe = recipe_of(host)
    run(recipe)
    jobs = len(host.jobs)
    host.seen.clear()
    shutil.move(recipe.run, "moved")
    names = [job["fine_tuned_model"] for job in host.jobs.values()]
    removed = clean(Path("moved"), policies=True)["removed"]
    assert [one["path"] for one in removed] == [], "what a host keeps stays"
    with RunFolder.open(Path("moved"), write=True) as folder:
        assert folder.is_whole
        found = [folder.policies.trained(iteration, "policy") for iteration in (1, 2)]
        assert [policy and policy.hosted for policy in found] == names
    asked = {"text": "Hello?", "prompt_id": None, "system": None, "candidates": 1, "params": SamplingParams(0)}
    said = sample_replies("moved", **asked, iteration=1, seed=0)
    assert said["model"] == names[0]
    assert names[0] in said["replies"][0]["text"]
    assert "base" in sample_replies("moved", **asked, iteration=0, seed=0)["replies"][0]["text"]
    run(recipe_of(host, "run=taken"), fork=Path("moved"))
    assert len(host.jobs) == jobs
    assert host.seen == [], "a fork takes over what was trained"


@pytest.mark.usefixtures("_here")
def test_every_iteration_can_set_out_from_the_base(host: FakeHost) -> None:
    run(recipe_of(host, "training.start_from=base", "loop.control=random"))
    assert {job["model"] for job in host.jobs.values()} == {"gpt-small"}
    assert len(host.jobs) == 4, "the control trains, too"


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("point", ["hosted.started", "hosted.polled:3", "hosted.kept", "train.finishing"])
def test_a_run_that_was_killed_goes_on_with_its_job(host: FakeHost, point: str) -> None:
    recipe = recipe_of(host)
    ended = run_rsft("run", "hosted.yaml", "--set", f"training.url={host.url}", RSFT_FAILPOINT=point)
    assert ended.code == -signal.SIGKILL, ended.err
    assert len(host.jobs) == 1
    summary = run(recipe)
    assert summary["finished"]
    assert len(host.jobs) == len(host.files) == 2


@pytest.mark.usefixtures("_here")
def test_an_engine_that_can_not_ask_the_host_is_refused(host: FakeHost) -> None:
    recipe = recipe_of(host, "engine=local")
    for act in (plan, run):
        with pytest.raises(RecipeError, match=r"training by 'openai' makes policies at a host.*engine: \{type"):
            act(recipe)
    assert host.seen == []


@pytest.mark.usefixtures("_here")
def test_weights_that_the_engine_can_not_serve_are_refused(host: FakeHost) -> None:
    recipe = recipe_of(host, "training={type: sft}")
    with pytest.raises(RecipeError, match=r"training by 'sft' makes adapters on this machine"):
        plan(recipe)
    plan(recipe_of(host, 'training={type: "null"}'))


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("training.normalise=prompt", "'training.normalise' is not a key"),
        ("training.price={input: 1, output: 1}", "price_per_million"),
        ("training.max_cost=3", "max_cost needs price_per_million"),
        (f"training.suffix={'x' * 65}", "suffix"),
        ("training.url=http://me:word@host/v1", "password"),
    ],
)
def test_options_that_can_not_be(host: FakeHost, option: str, why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        plan(recipe_of(host, option))


@pytest.mark.usefixtures("_here")
def test_patience_and_money_may_change_while_a_run_goes_on(host: FakeHost) -> None:
    host.states = ("running",)
    with pytest.raises(TrainingError, match="max_hours"):
        run(recipe_of(host, "training.max_hours=1e-9"))
    host.states = ("succeeded",)
    assert run(recipe_of(host, "training.max_hours=1", "training.price_per_million=3"))["finished"]


def test_a_hosted_policy_has_no_weights_to_load_nor_to_train_on(tiny_folder: Path, tmp_path: Path) -> None:
    network = Network.load(resolve([str(tiny_folder)]))
    hosted = hosted_policy(network.base, "ft:a:b")
    with pytest.raises(ModelError, match=r"'ft:a:b' at its host.*engine: openai"):
        network.show(hosted)
    assert network.policy == network.base
    for lora in (Lora(rank=2), None):
        with pytest.raises(ModelError, match="training: openai"):
            SftTraining(lora=lora).train_rows(
                network, [ReplyRow((1,), (2,))], hosted, tmp_path / "w", 0, lambda *_: None
            )
