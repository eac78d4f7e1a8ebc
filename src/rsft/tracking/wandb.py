"""Tells a run to Weights & Biases, by its own client."""

from __future__ import annotations

import netrc
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from rsft.config.tracking import Wandb
from rsft.tracking.base import About, Row
from rsft.tracking.memory import FOLDER
from rsft.tracking.numbers import TRAINING

_KEYS = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")


class WandbTracker:
    """Each row is a step of the run's history, by its number.

    The client takes rows in the background, and says nothing of when they are safe. So each sitting tells all of them:
    online those that the server has are passed over; offline the sitting's folder then holds the whole run, and those
    of earlier sittings go.
    """

    begins_anew: ClassVar[bool] = True

    def __init__(self, run: Any) -> None:
        self._run = run

    @classmethod
    def problem(cls) -> str | None:
        if os.environ.get("WANDB_MODE", "online") not in ("online", "shared") or any(map(os.environ.get, _KEYS)):
            return None
        host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
        if _has_login(host):
            return None
        return (
            f"wandb has no key for {host}: set WANDB_API_KEY, log in (wandb login), or keep the numbers on this disk "
            "for now (WANDB_MODE=offline)"
        )

    @classmethod
    def open(cls, options: Wandb, about: About) -> Self:
        import wandb

        # Only what we tell is sent: nothing of the terminal, the code, its repository, the command line or the
        # installed packages. Keys are the library's own business.
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            save_code=False,
            x_disable_meta=True,
            x_save_requirements=False,
            x_disable_machine_info=True,
        )
        run = wandb.init(
            project=options.project or os.environ.get("WANDB_PROJECT") or "rsft",
            name=about.name,
            id=about.id,
            resume="allow",
            reinit="create_new",
            dir=None if os.environ.get("WANDB_DIR") else str(about.run / FOLDER),
            config=dict(about.config),
            settings=settings,
        )
        run.define_metric("*", step_metric="iteration")
        for name in TRAINING:
            run.define_metric(f"{name}/*", step_metric="train_step")
        return cls(run)

    def tell(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.number >= self._run.step:
                self._run.log({**row.values, row.axis: row.at}, step=row.number, commit=True)

    def close(self, finished: bool) -> None:
        own = Path(self._run.dir).parent
        self._run.finish(exit_code=0 if finished else 1)
        if self._run.offline:
            for folder in own.parent.glob(f"offline-run-*-{self._run.id}"):
                if folder != own:
                    shutil.rmtree(folder, ignore_errors=True)


def _has_login(host: str) -> bool:
    """Whether `wandb login` left a key for this host."""
    named = os.environ.get("NETRC")
    for file in [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            if netrc.netrc(str(file)).authenticators(host) is not None:
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False
