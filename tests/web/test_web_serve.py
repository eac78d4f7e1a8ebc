"""`rsft ui` as a process: what it prints opens the pages, and it loads nothing heavy."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from rsft.web import serve

PROGRAM = """
import sys
from rsft.cli import main
sys.argv = ["rsft", "ui", sys.argv[1], "--port", "0", "--no-open", "--json"]
try:
    main()
finally:
    heavy = {"torch", "transformers", "peft", "trl", "datasets"} & set(sys.modules)
    print("heavy:", sorted(heavy), file=sys.stderr)
"""


def test_what_is_printed_opens_the_pages_and_no_model_library_is_loaded(runs: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(runs)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            said = json.loads("".join(iter(server.stdout.readline, "}\n")) + "}")
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            base = said["address"].partition("?")[0]
            assert opener.open(said["address"]).status == 200
            assert b"bot" in opener.open(base).read()
            for page in (
                "run?run=bot",
                "candidates?run=bot&iteration=1",
                "thresholds?run=bot&iteration=1",
                "chat?run=bot",
            ):
                assert opener.open(base + page).status == 200
            try:
                urllib.request.urlopen(base)
                refused = 0
            except urllib.error.HTTPError as error:
                refused = error.code
                error.close()
            assert refused == 401
        finally:
            server.send_signal(signal.SIGINT)
            _, told = server.communicate(timeout=60)
    assert server.returncode == 0, "Ctrl+C is how it ends"
    assert "heavy: []" in told
    assert said["address"].partition("=")[2] not in told, "the key is in no log"


def test_the_key_is_on_no_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser is given a file that only this user can read, and that is gone in the end."""
    opened: list[Path] = []

    def opening(address: str) -> bool:
        assert "SECRET" not in address
        opened.append(Path(address.removeprefix("file://")))
        assert "SECRET" in opened[0].read_text()
        return True

    def serving(server: object, sockets: list[socket.socket]) -> None:
        assert opened[0].stat().st_mode & 0o777 == 0o600
        assert opened[0].parent.stat().st_mode & 0o777 == 0o700
        sockets[0].close()

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", opening)
    monkeypatch.setattr("uvicorn.Server.run", serving)
    monkeypatch.setattr("secrets.token_urlsafe", lambda size: "SECRET")
    serve.serve(tmp_path, "127.0.0.1", 0, open_browser=True, tell=lambda served: None)
    assert len(opened) == 1
    assert not opened[0].exists()
