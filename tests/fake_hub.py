"""A hub with the part of its API that a push needs, in a thread: repositories, pre-uploads, large files, commits."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from local_server import JsonHandler, listening

TOKEN = "hf_canary7d3e9a"
_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)/(preupload|commit|tree)/main")
_BATCH = re.compile(r"/(?:datasets/)?[^/]+/[^/]+\.git/info/lfs/objects/batch")


@dataclass
class FakeHub:
    """What the hub holds: of each kind (models, datasets) repositories with their files, and the commits to them.
    `refuses`: a status for whatever is asked with a path that begins so."""

    url: str = ""
    repositories: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    private: dict[tuple[str, str], bool] = field(default_factory=dict)
    commits: list[tuple[str, str]] = field(default_factory=list)
    large: dict[str, bytes] = field(default_factory=dict)
    refuses: dict[str, int] = field(default_factory=dict)

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
        path = urlsplit(target).path
        if refused := next((status for start, status in self.refuses.items() if path.startswith(start)), None):
            return refused, {"error": f"not for {TOKEN}"}
        if (method, path) == ("POST", "/api/repos/create"):
            return self._create(json.loads(body))
        if (method, path) == ("POST", "/api/validate-yaml"):
            return 200, {"errors": [], "warnings": []}
        if method == "PUT" and path.startswith("/large/"):
            oid = path.removeprefix("/large/")
            assert hashlib.sha256(body).hexdigest() == oid
            self.large[oid] = body
            return 200, {}
        if method == "POST" and _BATCH.fullmatch(path):
            objects = json.loads(body)["objects"]
            asked = [{**one, "actions": {"upload": {"href": f"{self.url}/large/{one['oid']}"}}} for one in objects]
            return 200, {"transfer": "basic", "objects": asked}
        found = _API.fullmatch(path)
        if found is None or (found[1], found[2]) not in self.repositories:
            return 404, {"error": f"no such path: {path}"}
        files = self.repositories[found[1], found[2]]
        if found[3] == "tree":
            return 200, [{"type": "file", "path": name, "size": len(said), "oid": "0"} for name, said in files.items()]
        if found[3] == "preupload":
            asked = [one["path"] for one in json.loads(body)["files"]]
            modes = ["lfs" if name.endswith((".safetensors", ".gguf")) else "regular" for name in asked]
            said = [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in zip(asked, modes, strict=True)]
            return 200, {"files": said}
        return self._commit((found[1], found[2]), body)

    def _create(self, said: dict[str, Any]) -> tuple[int, Any]:
        kind = f"{said.get('type', 'model')}s"
        name = f"{said['organization']}/{said['name']}" if said.get("organization") else said["name"]
        prefix = "" if kind == "models" else f"{kind}/"
        if (kind, name) in self.repositories:
            return 409, {"error": "You already created this repo", "url": f"{self.url}/{prefix}{name}"}
        self.repositories[kind, name] = {".gitattributes": b""}
        self.private[kind, name] = said.get("visibility") == "private"
        return 200, {"url": f"{self.url}/{prefix}{name}"}

    def _commit(self, of: tuple[str, str], body: bytes) -> tuple[int, Any]:
        files = self.repositories[of]
        for line in map(json.loads, body.decode().splitlines()):
            said = line["value"]
            if line["key"] == "file":
                files[said["path"]] = base64.b64decode(said["content"])
            elif line["key"] == "lfsFile":
                files[said["path"]] = self.large[said["oid"]]
            elif line["key"] == "deletedFile":
                del files[said["path"]]
        self.commits.append(of)
        prefix = "" if of[0] == "models" else "datasets/"
        return 200, {"commitUrl": f"{self.url}/{prefix}{of[1]}/commit/{'0' * 40}", "commitOid": "0" * 40}


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Have the hub answer at its url for a while."""

    class Handler(JsonHandler):
        def do_POST(self) -> None:
            self._answer()

        do_GET = do_PUT = do_POST

        def _answer(self) -> None:
            body = self._body()
            # Where a large file goes is an address of its own, which needs no token.
            if not self.path.startswith("/large/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.say(401, {"error": f"wrong token: {self.headers.get('Authorization')}"})
            return self.say(*hub.answer(self.command, self.path, body))

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

    with listening(Handler) as url:
        hub.url = url
        yield hub
