"""A policy as a model of its own: what others load without knowing of adapters."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from rsft.errors import ModelError
from rsft.models.network import check_there
from rsft.models.student import Student
from rsft.store.files import TEMPORARY
from rsft.types import Policy

NAME = "whole"


def whole_model(student: Student, policy: Policy) -> Path:
    """The folder of a whole model with the policy's weights, its configuration and tokenizer; made if it is not there.

    It lies beside the policy's own weights and appears whole or not at all. The base's is where it is.
    """
    if policy == student.base:
        return student.folder.path
    if policy.folder is None:
        raise ModelError(f"The policy {policy.hash} has no weights on this disk.")
    folder = policy.folder.parent / NAME
    if not folder.is_dir():
        check_there(policy)
        write_whole_model(student, policy, folder)
    return folder


def write_whole_model(student: Student, policy: Policy, folder: Path) -> None:
    """Write it, in the precision that the student works in. Several processes may, and the first to finish wins."""
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=TEMPORARY, dir=folder.parent))
    network = student.network
    shown = network.policy
    network.show(policy)
    try:
        network.plain().save_pretrained(aside)
        network.chat.tokenizer.save_pretrained(aside)
        aside.chmod(0o755)
        os.rename(aside, folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        network.show(shown)
        shutil.rmtree(aside, ignore_errors=True)
