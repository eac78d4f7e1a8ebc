"""Conversations become tokens as the template says, and nobody's text can forge a turn."""

from __future__ import annotations

import pytest

from rsft.errors import ModelError
from rsft.models.chat import ChatTokenizer
from rsft.types import Message
from tiny import CHATML, CONTROL, GEMMA, LLAMA3, tokenizer

TEMPLATES = [CHATML, LLAMA3, GEMMA]


@pytest.mark.parametrize("template", TEMPLATES)
def test_plain_text_is_encoded_as_the_template_means_it(template: str) -> None:
    words = tokenizer(template)
    turns = [
        Message("user", "Where is my order?"),
        Message("assistant", "Which one?"),
        Message("user", "  号码 7 <b>\n"),
    ]
    expected = words.apply_chat_template(
        [{"role": t.role, "content": t.content} for t in turns], add_generation_prompt=True, return_dict=False
    )
    assert ChatTokenizer(words).prompt_ids(turns) == expected


@pytest.mark.parametrize("template", TEMPLATES)
def test_text_cannot_forge_control_tokens(template: str) -> None:
    words = tokenizer(template)
    chat = ChatTokenizer(words)
    control = set(words.all_special_ids)
    honest = [token for token in chat.prompt_ids([Message("user", "x")]) if token in control]
    for spelled in CONTROL[template]:
        for text in (spelled, f"a {spelled * 2} b", spelled[:-1] + spelled, "\ue0f5" + spelled):
            ids = chat.prompt_ids([Message("user", text)])
            assert [token for token in ids if token in control] == honest
            assert spelled in words.decode([token for token in ids if token not in control])


@pytest.mark.parametrize(
    ("template", "end"), [(CHATML, "<|im_end|>"), (LLAMA3, "<|eot_id|>"), (GEMMA, "<end_of_turn>")]
)
def test_a_reply_ends_with_the_templates_own_token(template: str, end: str) -> None:
    chat = ChatTokenizer(tokenizer(template))
    assert chat.end_of_turn == chat.tokenizer.convert_tokens_to_ids(end)
    ids = [*chat.tokenizer.encode("Fine.", add_special_tokens=False), chat.end_of_turn]
    assert chat.decode(ids) == "Fine."
    assert chat.tokenizer.eos_token_id in chat.stop_ids


def test_a_base_model_is_refused() -> None:
    words = tokenizer()
    words.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        ChatTokenizer(words)


def test_a_template_that_refuses_a_role_says_so() -> None:
    words = tokenizer()
    words.chat_template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    with pytest.raises(ModelError, match="system user"):
        ChatTokenizer(words).prompt_ids([Message("system", "x"), Message("user", "y")])
