"""A language model and a vision encoder joined to a new report writer: the stock LLaVA class with a fresh projector.

Both keep their pretrained weights; only the projector between them starts at random. What the two need of each other
(the number of image tokens, whether a class token is dropped, which layer is read) follows from the encoder's own
configuration, so any CLIP, SigLIP or DINOv2 folder will do. `pooling` N joins N x N neighbouring tokens of an image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from cxrgen.core.errors import InputError, unknown
from cxrgen.model.checkpoint import quiet
from cxrgen.model.folder_checks import CLASS_TOKENS, image_tokens_of
from cxrgen.model.lite_encoder import LiteEncoderConfig
from cxrgen.model.pooled_encoder import PooledEncoderConfig
from cxrgen.model.tiny import small_processor
from cxrgen.model.tower import ConvTowerConfig
from cxrgen.text.prompts import IMAGE

# The hidden layer that is read, by model_type of the vision encoder's configuration.
_LAYERS = {
    "clip_vision_model": -2,
    "dinov2": -1,
    "siglip_vision_model": -1,
    ConvTowerConfig.model_type: -1,
    LiteEncoderConfig.model_type: -1,
    PooledEncoderConfig.model_type: -1,
}


def read_layer(kind: str) -> tuple[int, bool]:
    """The hidden layer that is read of an encoder of this model_type, and whether it has a class token.

    Raises UsageError for a kind that is not known.
    """
    if kind not in _LAYERS:
        raise unknown("vision encoder", kind, _LAYERS)
    return _LAYERS[kind], bool(CLASS_TOKENS.get(kind))


def join(language: Path, encoder: Path | ConvTowerConfig, seed: int, pooling: int = 1) -> tuple[Any, Any]:
    """A LlavaForConditionalGeneration (float32) and its LlavaProcessor from two checkpoint folders.

    `encoder` may be the configuration of a new small encoder instead. Raises InputError for a folder that cannot be
    opened and for a kind of encoder that is not known.
    """
    with quiet():
        text, tokenizer = _opened(AutoModelForCausalLM, language), _opened(AutoTokenizer, language)
    return join_opened(text, tokenizer, encoder, seed, pooling)


def join_opened(
    text: Any, tokenizer: Any, encoder: Path | ConvTowerConfig, seed: int, pooling: int = 1
) -> tuple[Any, Any]:
    """The same for a language model that is open already; its tokenizer gets the image token."""
    with quiet():
        vision: Any = None if isinstance(encoder, ConvTowerConfig) else _vision_part(encoder)
    vision_config: Any = encoder if vision is None else vision.config
    _add_image_token(tokenizer)
    torch.manual_seed(seed)
    text.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    config = _joined_config(text.config, tokenizer, encoder, vision_config, pooling)
    model = LlavaForConditionalGeneration(config)
    model.model.language_model.load_state_dict(text.base_model.state_dict())
    model.lm_head.load_state_dict(text.get_output_embeddings().state_dict())
    if vision is not None:
        target = model.model.vision_tower
        (target.encoder if pooling > 1 else target).load_state_dict(vision.state_dict())
    model.tie_weights()
    _set_end(model, tokenizer)
    return model, _processor(tokenizer, encoder, config)


def join_on_meta(language: Path, encoder: Path | ConvTowerConfig, pooling: int = 1) -> tuple[Any, Any]:
    """What `join` makes of the same, without memory for its weights, which are not read."""
    config, processor = join_without_weights(language, encoder, pooling)
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    _set_end(model, processor.tokenizer)
    return model, processor


def _set_end(model: Any, tokenizer: Any) -> None:
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id


def join_without_weights(language: Path, encoder: Path | ConvTowerConfig, pooling: int = 1) -> tuple[LlavaConfig, Any]:
    """Configuration and processor of what `join` makes of the same; no weights are read."""
    with quiet():
        text, tokenizer = _opened(AutoConfig, language), _opened(AutoTokenizer, language)
        vision = encoder if isinstance(encoder, ConvTowerConfig) else _opened(AutoConfig, encoder)
    _add_image_token(tokenizer)
    text.vocab_size = len(tokenizer)
    config = _joined_config(text, tokenizer, encoder, getattr(vision, "vision_config", vision), pooling)
    return config, _processor(tokenizer, encoder, config)


def _add_image_token(tokenizer: Any) -> None:
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]}, replace_extra_special_tokens=False)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token


def _joined_config(
    text: Any, tokenizer: Any, encoder: Path | ConvTowerConfig, vision: Any, pooling: int
) -> LlavaConfig:
    """The configuration of both; `text` and `vision` are those of the parts, `encoder` is named in messages."""
    if vision.model_type not in _LAYERS:
        raise InputError(f"{encoder}: {unknown('vision encoder', vision.model_type, _LAYERS)}")
    if pooling > 1:
        vision = _pooled(encoder, vision, pooling)
    strategy = "default" if CLASS_TOKENS.get(vision.model_type) else "full"  # default drops a class token
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=image_tokens_of(
            {"vision_config": vision.to_dict(), "vision_feature_select_strategy": strategy}
        ),
        vision_feature_layer=_LAYERS[vision.model_type],
        vision_feature_select_strategy=strategy,
        tie_word_embeddings=text.tie_word_embeddings,
    )


def _pooled(encoder: Path | ConvTowerConfig, vision: Any, pooling: int) -> PooledEncoderConfig:
    """The encoder with neighbouring tokens joined. Raises InputError where tokens have no neighbours."""
    if vision.model_type not in CLASS_TOKENS:
        raise InputError(
            f"{encoder}: its tokens are no grid of patches; --token_pooling is for CLIP, SigLIP and DINOv2"
        )
    side = vision.image_size // vision.patch_size
    if pooling > side:
        raise InputError(f"{encoder}: has {side} x {side} tokens an image, so --token_pooling is at most {side}")
    return PooledEncoderConfig(vision, pooling, _LAYERS[vision.model_type], CLASS_TOKENS[vision.model_type])


def _processor(tokenizer: Any, encoder: Path | ConvTowerConfig, config: LlavaConfig) -> Any:
    vision_config = config.vision_config
    if isinstance(vision_config, ConvTowerConfig):
        return small_processor(tokenizer, vision_config)
    with quiet():
        image_processor = _opened(AutoImageProcessor, Path(str(encoder)))
    pooled = isinstance(vision_config, PooledEncoderConfig)  # one "patch" as large as the image, and the rest
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=vision_config.patch_size,
        num_additional_image_tokens=vision_config.tokens - 1 if pooled else CLASS_TOKENS[vision_config.model_type],
        vision_feature_select_strategy=config.vision_feature_select_strategy,
    )


def _vision_part(folder: Path) -> Any:
    """The vision encoder in `folder`, which may hold a whole CLIP or SigLIP model."""
    config = _opened(AutoConfig, folder)
    whole = _opened(AutoModel, folder)
    return getattr(whole, "vision_model", whole) if hasattr(config, "vision_config") else whole


def open_encoder(folder: Path) -> tuple[Any, Any]:
    """The vision encoder in `folder` (float32) and its image processor. Raises InputError as `join` does."""
    with quiet():
        return _vision_part(folder), _opened(AutoImageProcessor, folder)


def _opened(kind: Any, folder: Path) -> Any:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a checkpoint folder")
    try:
        options = {"dtype": torch.float32} if kind in (AutoModel, AutoModelForCausalLM) else {}
        return kind.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{folder}: {kind.__name__} cannot open it: {str(error).strip().splitlines()[0]}") from None
