"""The pages are private: whoever is not this user's own browser, at a page of this server, gets nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from rsft.errors import RunError
from rsft.web.app import gated
from rsft.web.gate import POLICY, Gate
from rsft.web.places import name_of, run_at

HERE = "http://127.0.0.1:7878"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return gated(tmp_path, "127.0.0.1", 7878)


@pytest.fixture
def stranger(gate: Gate) -> TestClient:
    return TestClient(gate, base_url=HERE)


@pytest.fixture
def friend(gate: Gate) -> TestClient:
    client = TestClient(gate, base_url=HERE)
    client.get(f"/?token={gate.token}")
    return client


def test_the_token_opens_once_and_the_cookie_counts_from_then_on(gate: Gate, stranger: TestClient) -> None:
    assert stranger.get("/").status_code == 401
    opened = stranger.get(f"/?token={gate.token}&a=%22%3E")
    cookie = opened.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert gate.token not in cookie
    assert gate.token not in opened.text, "the address that stays in the history holds no token"
    assert 'url=/?a=%22%3E"' in opened.text
    assert stranger.get("/").status_code == 200


@pytest.mark.parametrize(
    "address", ["/", "/runs", "/assets/rsft.css", "/nowhere", "/?token=", "/?token=wrong", "/?token=é"]
)
def test_without_the_token_nothing_is_shown(address: str, stranger: TestClient) -> None:
    stranger.cookies.set("rsft_7878", "wrong")
    said = stranger.get(address)
    assert said.status_code == 401
    assert "rsft ui printed" in said.text


def test_every_start_has_other_secrets(tmp_path: Path, friend: TestClient) -> None:
    other = gated(tmp_path, "127.0.0.1", 7878)
    assert TestClient(other, base_url=HERE, cookies=dict(friend.cookies)).get("/").status_code == 401


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7878", "127.0.0.1", "127.0.0.1:80", "localhost.:7878", ""]
)
def test_an_unknown_host_is_refused_on_every_method(method: str, host: str, gate: Gate, friend: TestClient) -> None:
    said = friend.request(method, f"/?token={gate.token}", headers={"Host": host, "Origin": f"http://{host}"})
    assert said.status_code == 421
    assert "set-cookie" not in said.headers


def test_two_hosts_are_refused(friend: TestClient) -> None:
    assert friend.get("/", headers=[("Host", "127.0.0.1:7878"), ("Host", "evil.example")]).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:7878", "localhost:7878", "LOCALHOST:7878", "[::1]:7878"])
def test_names_of_this_machine_are_known(host: str, friend: TestClient) -> None:
    assert friend.get("/", headers={"Host": host}).status_code == 200


def test_who_listens_everywhere_is_known_by_address_and_by_no_other_name(tmp_path: Path) -> None:
    gate = gated(tmp_path, "0.0.0.0", 7878)
    client = TestClient(gate, base_url="http://192.0.2.7:7878")  # also where the request came in
    assert client.get(f"/?token={gate.token}").status_code == 200
    assert client.get("/").status_code == 200
    assert client.get("/", headers={"Host": "192.0.2.8:7878"}).status_code == 421
    assert client.get("/", headers={"Host": "evil.example:7878"}).status_code == 421


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", "https://127.0.0.1:7878", "http://127.0.0.1:9", "file://"]
)
@pytest.mark.parametrize("method", METHODS)
def test_a_foreign_origin_is_refused(origin: str, method: str, gate: Gate, friend: TestClient) -> None:
    said = friend.request(method, f"/?token={gate.token}", headers={"Origin": origin})
    assert said.status_code == 403
    assert "access-control-allow-origin" not in said.headers


def test_what_changes_something_must_say_where_it_comes_from(friend: TestClient) -> None:
    assert friend.post("/").status_code == 403
    assert friend.post("/", headers={"Origin": HERE}).status_code == 405


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({}, 403),
        ({"Origin": HERE}, 404),
    ],
)
def test_web_sockets_are_refused(headers: dict[str, str], status: int, friend: TestClient) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        friend.websocket_connect("ws://127.0.0.1:7878/", headers=headers),
    ):
        pass
    assert refused.value.status_code == status


def test_web_sockets_of_strangers_are_refused(stranger: TestClient) -> None:
    with pytest.raises(WebSocketDenialResponse) as refused:
        stranger.websocket_connect("ws://127.0.0.1:7878/", headers={"Origin": HERE}).__enter__()
    assert refused.value.status_code == 401


@pytest.mark.parametrize("address", ["/", "/assets/htmx.min.js", "/nowhere", "/?token=wrong"])
@pytest.mark.parametrize("known", [True, False])
def test_every_answer_has_strict_headers(address: str, known: bool, friend: TestClient, stranger: TestClient) -> None:
    said = (friend if known else stranger).get(address)
    assert said.headers["content-security-policy"] == POLICY
    assert said.headers["x-content-type-options"] == "nosniff"
    assert said.headers["referrer-policy"] == "same-origin"
    assert said.headers["cross-origin-resource-policy"] == "same-origin"
    assert "unsafe" not in POLICY
    assert "server" not in said.headers


def test_no_page_has_a_script_or_a_style_in_it() -> None:
    """What the policy would stop, and htmx's ways around it."""
    for file in (Path(__file__).parents[2] / "src/rsft/web/templates").iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(
            r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|hx-on|javascript:|js:|\| *safe|https?://", text
        ), file


def test_htmx_is_the_one_that_the_npm_registry_has() -> None:
    import hashlib

    file = Path(__file__).parents[2] / "src/rsft/web/assets/htmx.min.js"
    assert (
        hashlib.sha256(file.read_bytes()).hexdigest()
        == "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Runs at runs/bot and runs/deep/bot, one beside the folder, and links to it."""
    for name in ("runs/bot", "runs/deep/bot", "secret"):
        run = tmp_path / name
        run.mkdir(parents=True)
        for file in ("recipe.yaml", "ledger.sqlite"):
            (run / file).touch()
    (tmp_path / "runs/link").symlink_to(tmp_path / "secret")
    (tmp_path / "runs/inner").symlink_to(tmp_path / "runs/bot")
    (tmp_path / "runs/linked").mkdir()
    (tmp_path / "runs/linked/recipe.yaml").touch()
    (tmp_path / "runs/linked/ledger.sqlite").symlink_to(tmp_path / "secret/ledger.sqlite")
    return tmp_path / "runs"


def test_runs_below_the_folder_are_found(folder: Path) -> None:
    for name in ("bot", "deep/bot"):
        assert name_of(folder, run_at(folder, name)) == name
    assert run_at(folder / "bot", ".") == folder / "bot"


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "bot/../../secret",
        "deep/../../secret",
        "/etc",
        "",
        "nobody",
        "link",
        "inner",
        "linked",
        "a\0b",
        "..",
        ".",
        "bot\\..",
        "//etc",
        "long" * 1000,
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str, folder: Path) -> None:
    with pytest.raises(RunError):
        run_at(folder, name)
    with pytest.raises(RunError):
        run_at(folder, str(folder.parent / "secret"))
