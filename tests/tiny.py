"""Tiny models with random weights and a real tokenizer, made in a moment: what the fast tests of the edges run on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "<bos>{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
CONTROL = {
    CHATML: ["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
    LLAMA3: ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>"],
    GEMMA: ["<bos>", "<start_of_turn>", "<end_of_turn>", "<eos>"],
}


def tokenizer(template: str = CHATML) -> Any:
    """A byte-level tokenizer: 256 bytes and the template's control tokens. The last control token is the eos."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    plain.decoder = decoders.ByteLevel()
    control = CONTROL[template]
    made = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token=control[-1], pad_token=control[-1])
    made.add_special_tokens({"additional_special_tokens": control[:-1]})
    made.chat_template = template
    return made


def save_model(
    folder: Path, *, architecture: str = "llama", template: str = CHATML, seed: int = 0, **options: Any
) -> Path:
    """A model folder of some 30,000 random weights, in fp32. `options` are of the model's config."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    words = tokenizer(template)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        bos_token_id=None,
        **{"max_position_embeddings": 512, **options},
    )
    torch.manual_seed(seed)
    return _saved(AutoModelForCausalLM.from_config(config, dtype=torch.float32), words, folder)


def save_classifier(
    folder: Path, labels: Sequence[str], *, architecture: str = "llama", by_token: bool = False, **options: Any
) -> Path:
    """A classifier's folder of random weights, in fp32: of whole texts, or `by_token`. Labels of '' stay unnamed.

    'llama' reads conversations by a chat template, and has no token to fill rows up with unless `options` give one;
    'bert' reads texts and pairs of texts.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

    words = tokenizer() if architecture == "llama" else _pair_tokenizer()
    names = {number: label or f"LABEL_{number}" for number, label in enumerate(labels)}
    sizes = {"head_dim": 8, "num_key_value_heads": 2, "pad_token_id": None} if architecture == "llama" else {}
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        id2label=names,
        label2id={label: number for number, label in names.items()},
        **{"max_position_embeddings": 256, **sizes, **options},
    )
    torch.manual_seed(0)
    kind = AutoModelForTokenClassification if by_token else AutoModelForSequenceClassification
    return _saved(kind.from_config(config, dtype=torch.float32), words, folder)


def _saved(model: Any, words: Any, folder: Path) -> Path:
    """The folder, with the model's weights made wider than usual: what it says is then far from uniform."""
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.3)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _pair_tokenizer() -> Any:
    """Bytes, with marks around a text and between two, in the manner of BERT."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = ["[PAD]", "[CLS]", "[SEP]", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    plain = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    plain.decoder = decoders.ByteLevel()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=256,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
