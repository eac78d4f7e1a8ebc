"""Exported policies load again where others load them, and are the policies that the run trained."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from command import Command
from fake_hub import TOKEN, FakeHub, serving
from rsft.errors import ModelError, RecipeError, RunError, ServerError
from rsft.exporting import Push, Wanted, bases, export, gguf
from rsft.models.network import adapter_hash
from rsft.models.references import ModelFolder
from rsft.models.student import Student
from rsft.store import RunFolder
from rsft.types import Policy
from tiny_runs import trained_run

# The hub's client sends large files in a way of which its own HTTP library advises against.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
QUESTION = [{"role": "user", "content": "question 1 of train"}]


def policy_of(run: Path) -> Policy:
    with RunFolder.open(run, write=False) as folder:
        policy = folder.policies.of(1, "policy")
    assert policy is not None
    return policy


def load(folder: Path, **how: Any) -> Any:
    """A model as anybody loads it."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, **how).eval()


def ids_of(folder: Path) -> Any:
    """A question, by the exported tokenizer and chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True)


def logits(model: Any, asked: Any) -> Any:
    with torch.no_grad():
        return model(**asked).logits[0].float()


def greedy(model: Any, asked: Any) -> list[int]:
    with torch.no_grad():
        said = model.generate(**asked, max_new_tokens=12, do_sample=False)
    return list(said[0].tolist())


@pytest.fixture
def adapter(adapters: Path, tmp_path: Path) -> Path:
    export(adapters, tmp_path / "adapter", Wanted(model="adapter", iteration=1))
    return tmp_path / "adapter/model"


@pytest.fixture
def merged(adapters: Path, tmp_path: Path) -> Path:
    export(adapters, tmp_path / "merged", Wanted(model="merged", iteration=1))
    return tmp_path / "merged/model"


def test_the_adapter_loads_in_transformers_and_peft(adapter: Path, adapters: Path, half_base: Path) -> None:
    from peft import AutoPeftModelForCausalLM, PeftModel

    asked = ids_of(adapter)
    by_transformers = logits(load(adapter, dtype=torch.float32), asked)
    over_base = PeftModel.from_pretrained(load(half_base, dtype=torch.float32), adapter)
    assert torch.equal(logits(over_base, asked), by_transformers)
    by_peft = AutoPeftModelForCausalLM.from_pretrained(adapter, dtype=torch.float32)
    assert torch.equal(logits(by_peft, asked), by_transformers)
    base = logits(load(half_base, dtype=torch.float32), asked)
    assert (base - by_transformers).abs().max() > 0.1, "the adapter does something"
    said = json.loads((adapter / "adapter_config.json").read_text())
    assert said["base_model_name_or_path"] == str(half_base)
    assert adapter_hash(Student([str(half_base)]).base, adapter) == policy_of(adapters).hash


def test_what_is_merged_says_what_the_adapter_says(adapter: Path, merged: Path, half_base: Path) -> None:
    asked = ids_of(merged)
    beside = load(adapter, dtype=torch.float32)
    whole = load(merged, dtype="auto")
    assert whole.dtype == torch.bfloat16, "the base's precision"
    # The weights are what the adapter adds up to in fp32, rounded once.
    added = beside.state_dict()
    plain = load(half_base, dtype=torch.float32)
    scale = json.loads((adapter / "adapter_config.json").read_text())
    scaling = scale["lora_alpha"] / scale["r"]
    changed = 0
    for name, weight in whole.state_dict().items():
        expected = plain.state_dict()[name]
        stem = name.removesuffix(".weight")
        if f"{stem}.lora_A.default.weight" in added:
            up, down = (added[f"{stem}.lora_{part}.default.weight"] for part in "BA")
            expected = expected + scaling * (up @ down)
            changed += 1
        assert torch.equal(weight, expected.to(torch.bfloat16)), name
    assert changed
    exact, rounded = logits(beside, asked), logits(load(merged, dtype=torch.float32), asked)
    assert (exact - rounded).abs().max() < 0.05 * exact.abs().max()


def test_merged_into_fp32_it_replies_the_same(tiny_folder: Path, tmp_path: Path) -> None:
    run = trained_run(tmp_path, tiny_folder)
    export(run, tmp_path / "a", Wanted(model="adapter", iteration=1))
    export(run, tmp_path / "m", Wanted(model="merged", iteration=1))
    beside, whole = load(tmp_path / "a/model"), load(tmp_path / "m/model")
    asked = ids_of(tmp_path / "m/model")
    assert whole.dtype == torch.float32
    torch.testing.assert_close(logits(whole, asked), logits(beside, asked), atol=1e-4, rtol=1e-4)
    assert greedy(whole, asked) == greedy(beside, asked)


def test_whole_weights_are_exported_as_they_were_trained_or_in_the_base_s_precision(
    half_base: Path, tmp_path: Path
) -> None:
    run = trained_run(tmp_path, half_base, lora="null")
    said = export(run, tmp_path / "t", Wanted(iteration=1))
    assert said["model"]["kind"] == "weights"
    own = Path(policy_of(run).weights or "")
    assert (tmp_path / "t/model/model.safetensors").read_bytes() == (own / "model.safetensors").read_bytes()
    asked = ids_of(tmp_path / "t/model")
    trained = load(tmp_path / "t/model", dtype="auto")
    assert trained.dtype == torch.float32
    export(run, tmp_path / "m", Wanted(model="merged", iteration=1))
    half = load(tmp_path / "m/model", dtype="auto")
    assert half.dtype == torch.bfloat16
    for name, weight in half.state_dict().items():
        assert torch.equal(weight, trained.state_dict()[name].to(torch.bfloat16))
    assert logits(half, asked).shape == logits(trained, asked).shape
    with pytest.raises(RecipeError, match="trained whole weights, and no adapter"):
        export(run, tmp_path / "a", Wanted(model="adapter", iteration=1))


def test_what_is_exported_holds_no_pickle_and_no_place_of_this_machine_but_the_base(
    adapter: Path, merged: Path, adapters: Path, half_base: Path
) -> None:
    for folder in (adapter.parent, merged.parent):
        for file in folder.rglob("*"):
            assert file.suffix not in (".bin", ".pt", ".pth", ".pkl")
            if file.is_file() and file.suffix != ".safetensors":
                text = file.read_text().replace(str(half_base), "BASE")
                assert str(adapters.parents[1]) not in text, file
                assert "/tmp" not in text, file
    # What is pushed names no place at all.
    for part in (merged, merged.parent / "data"):
        for file in part.iterdir():
            if file.suffix != ".safetensors":
                assert str(half_base) not in file.read_text(), file


# -- the base --------------------------------------------------------------------------------------------------------


def test_by_default_it_is_what_the_run_hands_back(adapters: Path, tmp_path: Path) -> None:
    handed_back = json.loads((adapters / "summary.json").read_text())["handed_back"]
    if handed_back == 0:
        with pytest.raises(RunError, match="hands back its base model"):
            export(adapters, tmp_path / "out", Wanted())
    else:
        assert export(adapters, tmp_path / "out", Wanted())["iteration"] == handed_back


@pytest.mark.parametrize("handed_back", [0, 1])
def test_the_summary_says_what_that_is(adapters: Path, tmp_path: Path, handed_back: int) -> None:
    run = shutil.copytree(adapters, tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text()) | {"handed_back": handed_back}
    (run / "summary.json").write_text(json.dumps(summary))
    if handed_back:
        assert export(run, tmp_path / "out", Wanted())["model"]["policy"] == policy_of(run).hash
    else:
        with pytest.raises(RunError, match="hands back its base model"):
            export(run, tmp_path / "out", Wanted())


def test_another_base_or_adapter_than_the_run_s_is_refused(adapters: Path, half_base: Path, tmp_path: Path) -> None:
    run = shutil.copytree(adapters, tmp_path / "run")
    base = shutil.copytree(half_base, tmp_path / "base")
    recipe = yaml.safe_load((run / "recipe.yaml").read_text()) | {"model": [str(base)]}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert export(run, tmp_path / "same", Wanted(iteration=1))["model"]
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"rope_theta": 5.0}))
    with pytest.raises(ModelError, match="one of the two was changed since the run trained it"):
        export(run, tmp_path / "other", Wanted(iteration=1))
    assert not (tmp_path / "other").exists()


def student(reference: str, folder: Path, *others: str) -> Student:
    made = Student([reference, *others])
    made.__dict__["folder"] = ModelFolder(reference, folder)
    return made


def test_a_base_is_called_as_others_load_it(half_base: Path) -> None:
    assert bases.base_of(student("org/base", half_base), None) == bases.Base("org/base", everywhere=True)
    assert bases.base_of(student(str(half_base), half_base), "org/base") == bases.Base("org/base", everywhere=True)
    assert not bases.base_of(student(str(half_base), half_base), None).everywhere
    carried = bases.base_of(student("package:llm-x", half_base, "org/x"), None)
    assert carried.name is None
    assert "org/x need not have the same weights" in carried.note
    with pytest.raises(RecipeError, match="--model merged"):
        bases.refuse_nameless(carried, "package:llm-x")


def test_over_a_package_s_base_the_whole_model_is_exported_and_a_note_says_why(
    adapters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half_base: Path
) -> None:
    from rsft.exporting import export as _  # noqa: F401

    module = sys.modules["rsft.exporting.export"]
    monkeypatch.setattr(module, "student_of", lambda recipe: student("package:llm-x", half_base, "org/x"))
    said = export(adapters, tmp_path / "out", Wanted(iteration=1))
    assert said["model"]["kind"] == "merged"
    assert "carried by a pip package" in said["notes"][0]
    named = export(adapters, tmp_path / "named", Wanted(iteration=1, base="org/x"))
    assert (named["model"]["kind"], named["model"]["base"]["name"]) == ("adapter", "org/x")
    config = json.loads((tmp_path / "named/model/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "org/x"


# -- cards -----------------------------------------------------------------------------------------------------------


def test_the_model_s_card_has_the_numbers_the_licence_and_how_to_load_it(adapters: Path, tmp_path: Path) -> None:
    wanted = Wanted(iteration=1, base="org/base", licence="apache-2.0")
    export(adapters, tmp_path / "out", wanted)
    card = (tmp_path / "out/model/README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header["license"] == "apache-2.0"
    assert header["base_model"] == "org/base"
    assert header["base_model_relation"] == "adapter"
    assert header["library_name"] == "peft"
    (metrics,) = (result["metrics"] for result in header["model-index"][0]["results"])
    (part,) = json.loads((adapters / "summary.json").read_text())["iterations"]
    assert metrics[0]["value"] == round(part["heldout_acceptance"]["value"], 4)
    assert f"policy of iteration 1, `{policy_of(adapters).hash}`" in card
    assert "vllm serve org/base --enable-lora --max-lora-rank 8 --lora-modules policy=model" in card
    export(adapters, tmp_path / "bare", Wanted(iteration=1))
    assert "license" not in (tmp_path / "bare/model/README.md").read_text().split("---")[1]


# -- TRL -------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["messages", "prompt-completion", "dpo", "kto"])
def test_trl_trains_on_the_rows(adapters: Path, merged: Path, tmp_path: Path, kind: Any) -> None:
    """One step of each trainer, on the exported model, with the rows as they are: scores and origin beside them."""
    import trl
    from datasets import load_dataset
    from transformers import AutoTokenizer

    export(adapters, tmp_path / "rows", Wanted(model="none", iteration=1, data=kind))
    rows = load_dataset(str(tmp_path / "rows/data"), split="train", cache_dir=str(tmp_path / "cache"))
    name = {"dpo": "DPO", "kto": "KTO"}.get(kind, "SFT")
    where = trl
    if not hasattr(trl, f"{name}Trainer"):
        import trl.experimental.kto as where
    config = getattr(where, f"{name}Config")(
        output_dir=str(tmp_path / "trl"),
        max_steps=1,
        per_device_train_batch_size=2,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
    )
    trainer = getattr(where, f"{name}Trainer")(
        model=load(merged, dtype=torch.float32),
        args=config,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(merged),
    )
    assert trainer.train().training_loss > 0


# -- GGUF ------------------------------------------------------------------------------------------------------------

CONVERTER = """
import os, sys
from pathlib import Path

folder, *rest = sys.argv[1:]
assert rest[::2] == ["--outfile", "--outtype"] and rest[3] == "auto", rest
assert "HF_TOKEN" not in os.environ
for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
    assert (Path(folder) / name).is_file(), name
if "fails" in sys.argv[0]:
    sys.exit("Model architecture 'tiny' is not supported")
if "lacks" in sys.argv[0]:
    import sentence_pieces_that_nobody_has
Path(rest[1]).write_bytes(b"GGUF")
"""


def test_gguf_is_what_the_converter_makes_of_the_whole_model(
    adapters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    script, failing = tmp_path / "convert_hf_to_gguf.py", tmp_path / "fails.py"
    for file in (script, failing):
        file.write_text(CONVERTER)
    said = export(adapters, tmp_path / "out", Wanted(model="gguf", iteration=1, converter=script))
    assert said["model"]["kind"] == "gguf"
    assert sorted(path.name for path in (tmp_path / "out/model").iterdir()) == ["README.md", "tiny.gguf"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data", "export.json", "model"]
    with pytest.raises(ModelError, match=r"failed \(exit code 1\):\nModel architecture 'tiny' is not supported"):
        export(adapters, tmp_path / "no", Wanted(model="gguf", iteration=1, converter=failing))
    assert not (tmp_path / "no").exists()
    (plain := tmp_path / "converter").write_text(CONVERTER)
    with pytest.raises(ModelError, match=r"converter can't be started: Permission denied\. Name a script of Python"):
        export(adapters, tmp_path / "no", Wanted(model="gguf", iteration=1, converter=plain))
    (lacking := tmp_path / "lacks.py").write_text(CONVERTER)
    with pytest.raises(ModelError, match=r"It needs the package sentence_pieces_that_nobody_has, in the env.*python"):
        export(adapters, tmp_path / "no", Wanted(model="gguf", iteration=1, converter=lacking))


def test_without_a_converter_it_says_how_to_get_one(
    adapters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gguf, "_PLACES", (tmp_path / "scripts/convert.py",))
    with pytest.raises(ModelError, match=r"git clone .*llama\.cpp"):
        export(adapters, tmp_path / "out", Wanted(model="gguf", iteration=1))
    with pytest.raises(ModelError, match="there is no"):
        export(adapters, tmp_path / "out", Wanted(model="gguf", iteration=1, converter=tmp_path))
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/convert.py").write_text(CONVERTER)
    assert export(adapters, tmp_path / "out", Wanted(model="gguf", iteration=1))["model"]["kind"] == "gguf"


# -- the hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Any:
    from huggingface_hub import constants

    with serving(FakeHub()) as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        # Large files by LFS: the stand-in has no Xet.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield fake


WANTED = Wanted(iteration=1, base="org/base")


def test_both_are_pushed_in_one_commit_each(adapters: Path, tmp_path: Path, hub: FakeHub) -> None:
    said = export(adapters, tmp_path / "out", WANTED, to_hub=Push("me/bot", private=True))
    assert hub.commits == [("models", "me/bot"), ("datasets", "me/bot")]
    assert set(hub.private.values()) == {True}
    assert said["pushed"] == {"model": f"{hub.url}/me/bot", "data": f"{hub.url}/datasets/me/bot"}
    for kind, part in (("models", "model"), ("datasets", "data")):
        here = {path.name: path.read_bytes() for path in (tmp_path / "out" / part).iterdir()}
        assert hub.repositories[kind, "me/bot"] == here | {".gitattributes": b""}
    card = hub.repositories["models", "me/bot"]["README.md"].decode()
    assert 'from_pretrained("me/bot")' in card
    assert yaml.safe_load(card.split("---")[1])["datasets"] == ["me/bot"]
    everything = "".join(path.read_text() for path in (tmp_path / "out").rglob("*.json"))
    assert TOKEN not in everything + json.dumps(said)


def test_what_is_there_is_replaced_only_if_so_asked(adapters: Path, tmp_path: Path, hub: FakeHub) -> None:
    hub.repositories["models", "me/bot"] = {"old.safetensors": b"old", "README.md": b"old", ".gitattributes": b""}
    with pytest.raises(RunError, match=r"The hub has me/bot already.*whole in"):
        export(adapters, tmp_path / "out", WANTED, to_hub=Push("me/bot"))
    assert (tmp_path / "out/export.json").is_file()
    export(adapters, tmp_path / "out", WANTED, force=True, to_hub=Push("me/bot"))
    assert "old.safetensors" not in hub.repositories["models", "me/bot"]
    assert "adapter_model.safetensors" in hub.repositories["models", "me/bot"]


def test_the_token_is_in_no_message(
    adapters: Path, tmp_path: Path, hub: FakeHub, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refuses["/api/models/me/bot/commit"] = 403
    with pytest.raises(ServerError, match="refused me/bot") as refused:
        export(adapters, tmp_path / "out", WANTED, to_hub=Push("me/bot"))
    assert TOKEN not in str(refused.value)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    words = ("export", str(adapters), "-i", "1", "--model", "none", "--to", str(tmp_path / "two"), "--push", "me/two")
    said = cli(*words)
    assert said.code == 2
    assert "The push to me/two failed" in said.err
    assert TOKEN not in said.err + said.out


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("HF_TOKEN", None, "needs a token .* HF_TOKEN"), ("offline", True, "HF_HUB_OFFLINE is set")],
)
def test_a_push_that_can_t_work_is_refused_before_anything_is_done(
    adapters: Path, tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, message: str
) -> None:
    from huggingface_hub import constants

    if name == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", value)
    else:
        monkeypatch.delenv(name)
        monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    with pytest.raises(RecipeError, match=message):
        export(adapters, tmp_path / "out", WANTED, to_hub=Push("me/bot"))
    assert not list(tmp_path.iterdir())


def test_an_adapter_over_a_folder_of_this_machine_is_not_pushed(adapters: Path, tmp_path: Path, hub: FakeHub) -> None:
    with pytest.raises(RecipeError, match="which nobody else has"):
        export(adapters, tmp_path / "out", Wanted(iteration=1), to_hub=Push("me/bot"))
    with pytest.raises(RecipeError, match="--push needs a name such as"):
        export(adapters, tmp_path / "out", WANTED, to_hub=Push("bot"))
    assert not hub.repositories
