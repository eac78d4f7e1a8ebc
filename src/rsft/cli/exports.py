"""What `rsft export` prints for people."""

from __future__ import annotations

from typing import Any

from rsft.cli.console import from_here, say, say_unbroken


def print_exported(said: dict[str, Any]) -> None:
    """Where what is, what to mind, and how to load it."""
    folder = from_here(said["folder"])
    if model := said["model"]:
        which = f"{model['kind']}, policy {model['policy']} of iteration {said['iteration']}"
        base = f" over {model['base']['name']}" if model["kind"] == "adapter" else ""
        say_unbroken(f"  {folder}/model  {which}{base}")
    if data := said["data"]:
        whose = f" of '{data['selection']}'" if data["selection"] else ""
        say_unbroken(f"  {folder}/data   {data['rows']:,} rows{whose} as {data['kind']}, in {data['file']}")
    for note in said["notes"]:
        say(note, "yellow")
    parts = [part for part in (said["model"], said["data"]) if part]
    if any(part["licence"] is None for part in parts):
        say("A card without a licence: name it with --license (model) and --data-license (rows) before you share it.")
    for address in said["pushed"].values():
        say_unbroken(f"  pushed: {address}")
    if said["model"] and not said["pushed"]:
        say("Load the model:")
        say_unbroken(f"  {_how_to_load(said['model'], folder)}")


def _how_to_load(model: dict[str, Any], folder: str) -> str:
    if model["kind"] == "gguf":
        return f"llama-server -m {folder}/model/*.gguf"
    return f'AutoModelForCausalLM.from_pretrained("{folder}/model")'
