"""Push what was exported to the hub, or to whatever has its API (HF_ENDPOINT): one commit for each repository."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from rsft.errors import RecipeError, RunError, ServerError

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""The variables that hold a token which may write."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def check_push(repository: str) -> None:
    """Raise a UserError where a push can't work, before anything is done."""
    if not _NAME.fullmatch(repository):
        raise RecipeError(f"--push needs a name such as org/model; found '{repository}'.")
    if _is_offline():
        raise RecipeError("--push needs the hub, and HF_HUB_OFFLINE is set.")
    _token()


def push(folder: Path, repository: str, kind: Literal["model", "dataset"], *, private: bool, force: bool) -> str:
    """Make the repository and commit the folder's files to it; its address. One that is there already is a RunError,
    unless `force`d: then these files take the place of all that it shows, and its history stays.

    Raises ServerError for what the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    token = _token()
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()
    ]
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    with _refusals(repository, token):
        # None: as an organisation has it by default, which need not be public.
        made = api.create_repo(repository, repo_type=kind, private=private or None, exist_ok=force)
        if force:
            there = set(api.list_repo_files(repository, repo_type=kind)) - files.keys() - {".gitattributes"}
            operations += [CommitOperationDelete(path_in_repo=name) for name in sorted(there)]
        api.create_commit(repository, operations, commit_message="Export by rsft", repo_type=kind)
    return str(made)


@contextmanager
def _refusals(repository: str, token: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # the one that it asks by

    try:
        yield
    except HfHubHTTPError as error:
        if error.response.status_code == 409:
            raise RunError(
                f"The hub has {repository} already. Choose another name, or replace what it shows (--force)."
            ) from None
        raise ServerError(f"The hub refused {repository}: {_harmless(error, token)}") from None
    except (httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
        raise ServerError(f"The push to {repository} failed: {_harmless(error, token)}") from None


def _harmless(error: BaseException, token: str) -> str:
    """What an error says, and that from which it came, on one line and without the token."""
    said = " ".join(str(error).replace(token, "***").split()) or type(error).__name__
    return said if error.__cause__ is None else f"{said} ({_harmless(error.__cause__, token)})"


def _token() -> str:
    found = next((value for name in TOKENS if (value := os.environ.get(name))), None)
    if found is None:
        raise RecipeError(f"--push needs a token that may write, in the environment variable {TOKENS[0]}.")
    return found


def _is_offline() -> bool:
    from huggingface_hub import constants

    return constants.is_offline_mode()
