"""The two kinds of checkpoint folder that conversion writes: stock LLaVA, and the original's.

Both are written from tensors under the original's names. A stock folder opens in transformers, peft and vLLM without
this package: weights, settings, processor, and a fast tokenizer with the slow one's ids. cxrgen.json beside them says
how conversations become tokens.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.core.files import write_json
from cxrgen.core.tables import read_json
from cxrgen.llava_med.lazy_tensors import LazyTensor, Written, read_weights, write_weights
from cxrgen.llava_med.tensor_names import (
    EMBEDDINGS,
    HEAD,
    PROJECTOR,
    TOWER,
    Layout,
    check_complete,
    stock_tensors,
    text_settings,
    tower_tensors,
    vision_settings,
)
from cxrgen.model.chat_template import chat_template
from cxrgen.model.checkpoint import FORMAT_FILE
from cxrgen.model.conversation import Format, recorded_format
from cxrgen.model.llama_fast import fast_tokenizer, fingerprint
from cxrgen.model.llama_tokenizer import IMAGE_PATCH, IMAGE_START, MODEL_FILE, SLOW_FILES, Tokens, read_llama_tokens
from cxrgen.text.prompts import IMAGE


@dataclass(frozen=True)
class ConvertOptions:
    """What the user decides about a converted checkpoint; "" leaves it to the checkpoint."""

    template: str = ""
    spacing: str = ""
    aspect: str = ""
    model_type: str = ""


DEFAULTS = ConvertOptions()


def write_stock(
    out: Path,
    original: Mapping[str, LazyTensor],
    layout: Layout,
    tokenizer: Path,
    tower: Path | None,
    options: ConvertOptions = DEFAULTS,
) -> Written:
    """A stock LLaVA folder from tensors under the original's names and the tokenizer files of folder `tokenizer`."""
    from transformers import CLIPVisionConfig, GenerationConfig, LlamaConfig, LlavaConfig, MistralConfig

    original, tower_config = _with_tower(original, layout, tower)
    text, vision = text_settings(layout), CLIPVisionConfig(**_only_clip(vision_settings(original, tower_config)))
    check_complete(original, text, vision.to_dict())
    format = _format(original, layout, tokenizer, vision, options)
    tokens = read_llama_tokens(tokenizer, format.added_tokens)
    rows = original[EMBEDDINGS].count
    needed = max(tokens.special[token] for token in format.added_tokens) + 1
    if needed > rows and format.image_token == IMAGE_PATCH:
        raise InputError(f"{EMBEDDINGS}: {rows} rows, but {MODEL_FILE} and its additions need {needed}; do they fit?")
    written = write_weights(out, stock_tensors(original, max(rows, needed)))
    ids = {"bos_token_id": tokens.bos, "eos_token_id": tokens.eos, "pad_token_id": tokens.pad}
    text_class = MistralConfig if layout.mistral else LlamaConfig
    config = LlavaConfig(
        text_config=text_class(**text, **ids, vocab_size=max(rows, needed), tie_word_embeddings=False),
        vision_config=vision,
        image_token_index=tokens.special[format.image_token],
        image_seq_length=format.image_tokens,
        projector_hidden_act="linear" if f"{PROJECTOR}weight" in original else "gelu",
        vision_feature_layer=int(
            layout.config.get("mm_vision_select_layer", layout.config.get("vision_feature_layer", -2))
        ),
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
        architectures=["LlavaForConditionalGeneration"],
        dtype=original[HEAD].dtype,
        **({"mm_vision_tower": layout.config["mm_vision_tower"]} if "mm_vision_tower" in layout.config else {}),
    )
    config.save_pretrained(out)
    GenerationConfig(**ids, do_sample=False).save_pretrained(out)
    fast = fast_tokenizer(tokenizer, tokens, format.spacing)
    _write_processor(out, fast, format, vision, (tokenizer, tower))
    _write_slow_tokenizer(out, tokenizer, tokens)
    write_json(out / FORMAT_FILE, asdict(replace(format, tokens=fingerprint(fast))))
    return written


def _with_tower(
    original: Mapping[str, LazyTensor], layout: Layout, tower: Path | None
) -> tuple[dict[str, LazyTensor], dict[str, Any] | None]:
    """The tensors with the vision encoder's, and its config; an encoder in the checkpoint itself goes first."""
    config = read_json(tower / "config.json") if tower and (tower / "config.json").is_file() else None
    if any(name.startswith(TOWER) for name in original):
        return dict(original), config or layout.config.get("vision_config")
    if tower is None:
        name = layout.config.get("mm_vision_tower")
        raise InputError(
            "the checkpoint holds no vision encoder; name a folder, zip or hub name with --vision_tower"
            + (f", its config says {name}" if name else "")
        )
    found = tower_tensors(read_weights(tower))
    if not found:
        raise InputError(f"{tower}: no CLIP vision encoder in it")
    return {**original, **found}, config


def _only_clip(settings: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "hidden_size intermediate_size num_hidden_layers num_attention_heads num_channels image_size patch_size "
        "hidden_act layer_norm_eps projection_dim"
    )
    return {name: settings[name] for name in names.split() if name in settings}


def _format(
    original: Mapping[str, LazyTensor], layout: Layout, tokenizer: Path, vision: Any, options: ConvertOptions
) -> Format:
    """How the checkpoint's conversations become tokens: recorded in a stock folder, else by its family."""
    recorded = tokenizer / FORMAT_FILE
    if layout.stock and recorded.is_file():
        format = recorded_format(recorded)
    else:
        one_layer = f"{PROJECTOR}weight" in original
        known = read_llama_tokens(tokenizer, ()).special
        patches = one_layer or IMAGE_PATCH in known
        # An old delta's config does not say; three rows behind the vocabulary do.
        three_rows = read_llama_tokens(tokenizer, (IMAGE_PATCH,)).special[IMAGE_PATCH] + 3
        both = IMAGE_START in known or original[EMBEDDINGS].count >= three_rows
        both = bool(layout.config.get("mm_use_im_start_end", both))
        aspect = layout.config.get("image_aspect_ratio")
        format = Format(
            template="mistral" if layout.mistral else ("v0" if one_layer else "v1"),
            spacing="strip" if one_layer and _before_keeping(layout.config) else "keep",
            image_token=IMAGE_PATCH if patches else IMAGE,
            image_tokens=(vision.image_size // vision.patch_size) ** 2,
            start_end=both and patches,
            aspect=aspect if aspect in ("square", "pad") else "square",
            max_length=int(layout.config.get("tokenizer_model_max_length", 2048)),
            prompt="original",
        )
    changes = {name: value for name, value in asdict(options).items() if value and name != "model_type"}
    return Format(**{**asdict(format), **changes})


def _before_keeping(config: Mapping[str, Any]) -> bool:
    """Was it saved before transformers 4.34, whose slow tokenizer stripped white space beside special tokens?"""
    version = str(config.get("transformers_version", "4.28")).split(".")
    try:
        return (int(version[0]), int(version[1])) < (4, 34)
    except (ValueError, IndexError):
        return True


def _write_processor(out: Path, tokenizer: Any, format: Format, vision: Any, folders: Sequence[Path | None]) -> None:
    """Tokenizer and image processor; the latter by the last preprocessor_config.json in `folders`, else as CLIP's."""
    from transformers import LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    settings: dict[str, Any] = {}
    for folder in folders:
        if folder and (folder / "preprocessor_config.json").is_file():
            settings = read_json(folder / "preprocessor_config.json")
    size = vision.image_size
    settings = {name: settings[name] for name in ("image_mean", "image_std", "resample") if name in settings}
    images = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size}, **settings)
    template = tokenizer.chat_template = chat_template(format, begin=tokenizer.bos_token_id is not None)
    LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=vision.patch_size,
        num_additional_image_tokens=1,  # the class token, which strategy "default" takes away again
        vision_feature_select_strategy="default",
        image_token=format.image_token,
        chat_template=template,
    ).save_pretrained(out)


def _write_slow_tokenizer(out: Path, tokenizer: Path, tokens: Tokens) -> None:
    """tokenizer.model, added_tokens.json and special_tokens_map.json: what `read_llama_tokens` and older tools read."""
    import sentencepiece

    shutil.copyfile(tokenizer / MODEL_FILE, out / MODEL_FILE)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer / MODEL_FILE))
    added = {text: token for text, token in tokens.special.items() if token >= pieces.get_piece_size()}
    write_json(out / "added_tokens.json", added)
    names = {token: text for text, token in tokens.special.items()}
    named: dict[str, Any] = {"unk_token": pieces.id_to_piece(pieces.unk_id()), "pad_token": names[tokens.pad]}
    named["eos_token"] = names[tokens.eos]
    if tokens.bos is not None:
        named["bos_token"] = names[tokens.bos]
    for name, text in named.items():
        if text in tokens.no_strip:
            named[name] = {"content": text, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    write_json(out / "special_tokens_map.json", named)


def write_original(
    out: Path, original: Mapping[str, LazyTensor], layout: Layout, tokenizer: Path, model_type: str = ""
) -> Written:
    """The original's folder: v1.0 with the encoder in a folder of its own, v1.5 with the encoder among the weights."""
    one_layer = f"{PROJECTOR}weight" in original
    language = {name: tensor for name, tensor in original.items() if not name.startswith(TOWER)}
    tower = {name: tensor for name, tensor in original.items() if name.startswith(TOWER)}
    format = recorded_format(tokenizer / FORMAT_FILE) if (tokenizer / FORMAT_FILE).is_file() else Format()
    tokens = read_llama_tokens(tokenizer, format.added_tokens if layout.stock else ())
    rows = original[EMBEDDINGS].count
    if layout.stock and format.image_token == IMAGE:  # its row was added for the stock class
        rows = min(rows, tokens.special[IMAGE])
        tokens = replace(tokens, special={text: number for text, number in tokens.special.items() if text != IMAGE})
        language |= {
            name: replace(language[name], shape=(rows, *language[name].shape[1:])) for name in (EMBEDDINGS, HEAD)
        }
    written = write_weights(out, language if one_layer else language | tower)
    kind = model_type or ("llava_mistral" if layout.mistral else "llava" if one_layer else "llava_llama")
    config: dict[str, Any] = {
        **text_settings(layout),
        "model_type": kind,
        "architectures": ["LlavaMistralForCausalLM" if layout.mistral else "LlavaLlamaForCausalLM"],
        "vocab_size": rows,
        "bos_token_id": tokens.bos,
        "eos_token_id": tokens.eos,
        "pad_token_id": tokens.pad,
        "tie_word_embeddings": False,
        "torch_dtype": str(original[HEAD].dtype).removeprefix("torch."),
        "use_cache": True,
    }
    config |= {name: value for name, value in layout.config.items() if name.startswith("mm_") or name == "use_mm_proj"}
    if layout.stock:
        vision = layout.config["vision_config"]
        config |= {
            "use_mm_proj": True,
            "mm_hidden_size": vision.get("hidden_size", 1024),
            "mm_vision_select_layer": layout.config.get("vision_feature_layer", -2),
            "mm_use_im_start_end": format.start_end,
            "mm_projector_type": "linear" if one_layer else "mlp2x_gelu",
            "image_aspect_ratio": "pad" if format.aspect == "pad" else "square",
        }
        config.setdefault("mm_vision_tower", "openai/clip-vit-large-patch14" + ("" if one_layer else "-336"))
        if one_layer and tower:
            _write_tower(out / "vision_tower", tower, vision)
    write_json(out / "config.json", config)
    if layout.stock:
        _write_slow_tokenizer(out, tokenizer, tokens)
        write_json(out / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True})
    else:
        for name in (*SLOW_FILES, "tokenizer_config.json", "tokenizer.json", "preprocessor_config.json"):
            if (tokenizer / name).is_file():
                shutil.copyfile(tokenizer / name, out / name)
    return written


def _write_tower(out: Path, tower: Mapping[str, LazyTensor], vision: Mapping[str, Any]) -> None:
    out.mkdir()
    write_weights(out, {"vision_model." + name.removeprefix(TOWER): tensor for name, tensor in tower.items()})
    write_json(out / "config.json", {**vision, "architectures": ["CLIPVisionModel"], "model_type": "clip_vision_model"})
