"""A policy as others load it: an adapter, or a whole model, with tokenizer and chat template. Safetensors only."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from rsft.errors import ModelError
from rsft.models.network import Network, adapter_hash, check_there
from rsft.models.references import content_hash
from rsft.models.student import Student
from rsft.types import Policy

_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def check_policy(student: Student, policy: Policy) -> None:
    """Raise ModelError where the policy is not on this disk, or its files (or the base's) are not those of its hash."""
    if policy.hosted is not None:
        raise ModelError(
            f"The policy {policy.hash} is '{policy.hosted}' at its host, which keeps its weights. Rows: --model none."
        )
    check_there(policy)
    if policy.folder is None:
        raise ModelError(f"The policy {policy.hash} has no weights: a fake trainer made it. Its rows: --model none.")
    if policy.adapter is not None and adapter_hash(student.base, Path(policy.adapter)) != policy.hash:
        raise ModelError(
            f"The adapter in {policy.adapter} over the base '{student.folder.reference}' ({student.base.hash}) is not "
            f"the policy {policy.hash}: one of the two was changed since the run trained it. Bring back the base that "
            "the run began with; rsft resume finds an adapter that is damaged."
        )
    if policy.weights is not None and content_hash(Path(policy.weights)) != policy.hash:
        raise ModelError(f"The weights in {policy.weights} are not those of the policy {policy.hash}: rsft resume.")


def write_adapter(student: Student, policy: Policy, base: str, folder: Path) -> None:
    """The adapter as it was trained, over a base of this name."""
    assert policy.adapter is not None
    source = Path(policy.adapter)
    shutil.copyfile(source / "adapter_model.safetensors", folder / "adapter_model.safetensors")
    config = json.loads((source / "adapter_config.json").read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": base, "revision": None, "inference_mode": True}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(student, folder)


def write_weights(student: Student, policy: Policy, folder: Path) -> None:
    """Whole weights as they were trained, in fp32."""
    assert policy.weights is not None
    for kind in ("*.safetensors", "*.json"):
        for file in Path(policy.weights).glob(kind):
            shutil.copyfile(file, folder / file.name)
    write_tokenizer(student, folder)


def write_merged(student: Student, policy: Policy, folder: Path) -> None:
    """A whole model in the base's precision: what was trained is added in fp32, and rounded once."""
    import torch

    dtype = base_dtype(student.folder.path)
    network = Network.load(student.folder, dtype="float32", device="cpu", trust_remote_code=student.trust_remote_code)
    network.show(policy)
    network.plain().to(getattr(torch, dtype)).save_pretrained(folder)
    write_tokenizer(student, folder)


def write_tokenizer(student: Student, folder: Path) -> None:
    """The base's tokenizer, with its chat template."""
    student.chat.tokenizer.save_pretrained(folder)


def base_dtype(folder: Path) -> str:
    """The precision that most of a model's weights are in. Raises ModelError for one that nothing is merged into."""
    from safetensors import safe_open

    counts: Counter[str] = Counter()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="numpy") as stored:
            names = stored.keys()
            counts.update(stored.get_slice(name).get_dtype() for name in names)
    found = counts.most_common(1)[0][0] if counts else "none"
    if found not in _DTYPES:
        raise ModelError(
            f"The base's weights are in {found}, and an adapter is merged into {', '.join(_DTYPES)} only: export it as "
            "an adapter (--model adapter)."
        )
    return _DTYPES[found]


def adapter_rank(folder: Path) -> int:
    said: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return max([int(said["r"]), *map(int, (said.get("rank_pattern") or {}).values())])
