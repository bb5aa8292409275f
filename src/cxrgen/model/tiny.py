"""A new small report writer from nothing but training texts: tokenizer, vision encoder and language model.

It is the stock LLaVA class with the stock processor, only small; everything downstream treats it like the 7B model.
The tokenizer is learnt from the training texts, because a narrow vocabulary makes reports short in tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from cxrgen.model.tower import ConvTowerConfig
from cxrgen.text.prompts import IMAGE

PAD, BEGIN, END = "<pad>", "<s>", "</s>"


@dataclass(frozen=True)
class NewModel:
    """Sizes of a model that is made rather than loaded."""

    image_size: int = 128  # pixels, a multiple of 16
    image_tokens: int = 8  # a view
    vocabulary: int = 1000  # word pieces, special tokens included
    layers: int = 3
    hidden_size: int = 256
    heads: int = 4
    tower_size: int = 192
    encoder_stem: str = "strided"  # or dense: convolutions at every block of pixels, with max-pools


def learn_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `vocabulary` pieces learnt from `texts`; any text round-trips through it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BEGIN, END, IMAGE],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        additional_special_tokens=[IMAGE],
        padding_side="left",
    )


def new_model(sizes: NewModel, texts: Iterable[str], seed: int) -> tuple[Any, Any]:
    """A LlavaForConditionalGeneration with random weights (from `seed`) and its LlavaProcessor."""
    tokenizer = learn_tokenizer(texts, sizes.vocabulary)
    config = LlavaConfig(
        vision_config=ConvTowerConfig(
            image_size=sizes.image_size,
            tokens=sizes.image_tokens,
            hidden_size=sizes.tower_size,
            stem=sizes.encoder_stem,
        ),
        text_config=_text_config(sizes, tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=sizes.image_tokens,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model, small_processor(tokenizer, config.vision_config)


def new_language_model(sizes: NewModel, texts: Iterable[str], seed: int) -> tuple[Any, Any]:
    """A LlamaForCausalLM with random weights (from `seed`) and its tokenizer, to be joined to an encoder."""
    tokenizer = learn_tokenizer(texts, sizes.vocabulary)
    torch.manual_seed(seed)
    return LlamaForCausalLM(_text_config(sizes, tokenizer)), tokenizer


def _text_config(sizes: NewModel, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.hidden_size * 8 // 3 // 32 * 32,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def small_processor(tokenizer: Any, tower: ConvTowerConfig) -> Any:
    """The LlavaProcessor of a model with the small encoder."""
    size = tower.image_size
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": size},
            crop_size={"height": size, "width": size},
            image_mean=[0.5] * 3,
            image_std=[0.25] * 3,
        ),
        tokenizer=tokenizer,
        # One "patch" as large as the image, and the rest as additional tokens: the processor's way to a fixed count.
        patch_size=size,
        num_additional_image_tokens=tower.tokens - 1,
        vision_feature_select_strategy="full",
    )
