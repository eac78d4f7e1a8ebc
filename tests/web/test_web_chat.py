"""Chat on the page: it asks before it loads, tells replies as they come, and leaves what a model wrote inert."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml
from starlette.testclient import TestClient
from web_runs import EVIL

from rsft.engines.base import Pace, Request, Sampling, Watch
from rsft.engines.scripted import ScriptedEngine
from rsft.store import RunFolder
from rsft.types import Ended, Policy
from rsft.web import chat as web_chat

RUN = {"run": "bot"}
HTMX = {"HX-Request": "true"}


@pytest.fixture
def client(runs: Path, browser: Callable[..., TestClient], tmp_path: Path) -> TestClient:
    """Pages of runs that this test may change."""
    shutil.copytree(runs, tmp_path / "runs", dirs_exist_ok=True)
    return browser(tmp_path / "runs")


def change(runs: Path, **said: object) -> None:
    file = runs / "bot/recipe.yaml"
    recipe = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(recipe | said))


def post(client: TestClient, what: str, **said: object) -> str:
    answer = client.post(f"/chat/{what}", data={**RUN, **said}, headers=HTMX)
    assert answer.status_code == 200, answer.text
    return answer.text


def settled(client: TestClient) -> str:
    """The page once nothing is going on."""
    deadline = time.monotonic() + 120
    while "aria-busy" in (text := client.get("/chat", params=RUN).text):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return text


def load(client: TestClient, *who: str, **said: object) -> str:
    post(client, "load", who=list(who or ("policy@1", "base")), **said)
    return settled(client)


def replies(text: str) -> list[str]:
    return re.findall(r'class="turn reply ?">.*?<p class="text">(.*?)</p>', text, flags=re.S)


def test_it_says_who_can_speak_and_what_it_takes_and_loads_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_chat, "open_talk", lambda *_: pytest.fail("nobody asked for it"))
    text = client.get("/chat", params=RUN).text
    assert re.findall(r'name="who" value="([^"]*)"', text) == ["base", "policy@2", "control@2", "policy@1", "control@1"]
    assert "Nothing of this run is loaded" in text
    assert "Free memory" in text
    assert 'aria-current="page">Chat' in text
    assert client.get("/chat/now", params=RUN).status_code == 200


def test_what_is_asked_for_is_loaded_and_answers_side_by_side(client: TestClient) -> None:
    text = load(client)
    assert "Loaded: policy@1, base" in text
    post(client, "say", text="Hello")
    first = replies(settled(client))
    assert len(first) == 2
    assert "Good" in first[0]
    post(client, "retry")
    again = settled(client)
    assert "draw 2" in again
    assert len(replies(again)) == 2
    post(client, "say", text="Again")
    assert len(replies(settled(client))) == 4
    text = post(client, "undo")
    assert len(replies(text)) == 2
    assert ">Again</textarea>" in text, "what was taken back can be mended"


@pytest.fixture
def may(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Replies go on behind their fourth token when this is set."""
    event, sample = threading.Event(), ScriptedEngine.sample

    def paused(
        engine: ScriptedEngine, policy: Policy, requests: Sequence[Request], watch: Watch, pace: Pace | None = None
    ) -> Sampling:
        watcher = watch(requests[0])
        assert watcher is not None

        def slow(text: str, tokens: int) -> Ended | None:
            ended = watcher(text, tokens)
            return ended if tokens < 4 or not event.wait(60) else watcher(text, tokens)

        return sample(engine, policy, requests, lambda _: slow, pace)

    monkeypatch.setattr(ScriptedEngine, "sample", paused)
    yield event
    event.set()


def until(client: TestClient, there: str) -> str:
    deadline = time.monotonic() + 120
    while there not in (text := client.get("/chat/now", params=RUN).text):
        assert time.monotonic() < deadline, text
        time.sleep(0.02)
    return text


def test_replies_come_piece_by_piece_and_can_be_stopped(client: TestClient, may: threading.Event) -> None:
    load(client, "policy@2", "base")
    assert "aria-busy" in post(client, "say", text="Hello")
    text = until(client, '<p class="text">Good</p>')
    assert "· writing" in text
    assert "· waiting" in text
    (version,) = re.findall(r"since=(\w+)", text)
    assert client.get("/chat/now", params={**RUN, "since": version}).status_code == 204, "nothing is new"
    assert client.get("/chat/now", params={**RUN, "since": "another"}).status_code == 200
    assert client.post("/chat/say", data={**RUN, "text": "Too soon"}, headers=HTMX).status_code == 400
    post(client, "stop")
    may.set()
    text = settled(client)
    assert text.count("· stopped") == 2
    assert replies(text)[0] == "Good"


def test_unloading_ends_a_reply_that_is_being_written(client: TestClient, may: threading.Event) -> None:
    load(client)
    post(client, "say", text="Hello")
    threading.Timer(0.2, may.set).start()
    assert "Nothing of this run is loaded" in post(client, "unload")
    assert "aria-busy" not in client.get("/chat", params=RUN).text


def test_scores_are_shown_with_the_rules_verdict(client: TestClient) -> None:
    load(client, "base", temperature="0")
    post(client, "say", text="Hello there")
    settled(client)
    post(client, "score")
    text = settled(client)
    assert ">accepted</span>" in text
    for name in ("polite", "long", "words"):
        assert f"<dt>{name}</dt>" in text
    post(client, "say", text="Next")
    assert "<dt>polite</dt>" not in settled(client), "they were of the reply before"


def test_what_a_model_or_a_user_wrote_stays_text(client: TestClient, tmp_path: Path) -> None:
    change(tmp_path / "runs", engine={"type": "scripted", "replies": [EVIL + "{prompt}"]})
    load(client, "base", max_tokens="500")
    post(client, "say", text=EVIL)
    text = settled(client)
    assert "<img" not in text
    assert "<svg" not in text
    assert text.count("&lt;img src=x onerror=alert(1)&gt;{{ 7 * 7 }}") == 3


def test_unloading_closes_the_engine_and_forgets_the_conversation(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    monkeypatch.setattr("rsft.engines.scripted.ScriptedEngine.close", lambda _: closed.append(True))
    load(client)
    post(client, "say", text="Hello")
    settled(client)
    assert "Nothing of this run is loaded" in post(client, "unload")
    assert closed == [True]
    assert "Hello" not in load(client)
    load(client, "base")
    assert closed == [True, True], "what is loaded next takes its place"


def test_a_template_s_fields_are_asked_for_with_an_example(client: TestClient, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with RunFolder.open(runs / "bot", write=False) as folder:
        asked = folder.load_prompts("heldout")[0]
    change(runs, prompts={"train": "t", "heldout": "h", "template": "{{ messages[-1].content }} {{ facts.price }}"})
    assert asked.fields == {}
    assert '<textarea name="field.facts" rows="2"></textarea>' in client.get("/chat", params=RUN).text
    load(client, "base")
    text = post(client, "say", text="Hello <b>")
    assert "it uses &#39;facts&#39;" in text
    assert ">Hello &lt;b&gt;</textarea>" in text, "what could not be said is there to be said again"
    text = post(client, "set", system="Be kind.", **{"field.facts": '{"price": 12}'})
    assert "it uses" not in text
    assert ">{&#34;price&#34;: 12}</textarea>" in text
    post(client, "say", text="Hello")
    assert replies(settled(client))
    load(client, "base", **{"field.facts": '{"price": 12}'})
    post(client, "say", text="Hello")
    assert replies(settled(client))


def test_what_can_t_be_loaded_is_told(client: TestClient, tmp_path: Path) -> None:
    change(tmp_path / "runs", engine={"type": "openai", "url": "http://127.0.0.1:9/v1", "model": "m"})
    text = load(client, "base")
    assert "Nobody listens at http://127.0.0.1:9/v1" in text
    assert "Nothing of this run is loaded" in text
    assert "temperature: expected a number" in post(client, "load", who="base", temperature="hot")


def test_memory_that_does_not_do_is_told(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_talk(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("rsft.talking.opening.open_engine", open_talk)
    assert "End what else needs it" in load(client, "base")


def test_a_conversation_that_is_not_there_can_t_go_on(client: TestClient) -> None:
    answer = client.post("/chat/say", data={**RUN, "text": "Hello"}, headers=HTMX)
    assert answer.status_code == 400
    assert "Load its models first" in answer.text
    assert client.post("/chat/nothing", data=RUN).status_code == 404


def test_without_a_page_of_ours_nothing_is_loaded(client: TestClient) -> None:
    for origin in ("http://evil.example", "null"):
        assert client.post("/chat/load", data=RUN, headers={"Origin": origin}).status_code == 403
    assert client.get("/chat/load", params=RUN).status_code in (404, 405)


def test_forms_work_without_scripts(client: TestClient) -> None:
    answer = client.post("/chat/load", data={**RUN, "who": "base"}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/chat?run=bot"
