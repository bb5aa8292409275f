"""Tiny random models of every class that the tests train: config, tokenizer, the class's processor, a chat template.

One function a class; each writes a folder as the hub has it. Tokenizers are small byte-level BPEs with the class's
special tokens, templates are short ones in the class's style. Weights are a few thousand random numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cxrgen.model.processors import VideoSettings, without_videos
from cxrgen.model.tiny import learn_tokenizer

SENTENCES = ("The heart is large.", "The heart is of normal size.", "There is a left effusion.", "No effusion is seen.")
_TEXTS = [*SENTENCES, "Frontal: Lateral: Indication: Write the report. user assistant model"] * 5
_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
}

_PARTS = (
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}IMAGE{%- else -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}"
)
CHATML = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}" + _PARTS + "{{ '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
GEMMA = (
    "{{ bos_token }}{%- for message in messages -%}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\n' }}"
    + _PARTS.replace("part['text']", "part['text'] | trim")
    + "{{ '<end_of_turn>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"
)
VICUNA = (  # images first, and no mark behind an answer
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}{{ 'USER: ' }}"
    "{%- for part in message['content'] | selectattr('type', 'equalto', 'image') -%}{{ 'IMAGE\n' }}{%- endfor -%}"
    "{%- for part in message['content'] | selectattr('type', 'equalto', 'text') -%}{{ part['text'] }}{%- endfor -%}"
    "{{ ' ' }}{%- else -%}"
    "{{ 'ASSISTANT: ' }}{%- for part in message['content'] -%}{{ part['text'] }}{%- endfor -%}{{ ' ' }}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'ASSISTANT:' }}{%- endif -%}"
)
IDEFICS = (
    "{{ '<|im_start|>' }}{%- for message in messages -%}"
    "{{ message['role'] | capitalize + ':' }}"
    "{%- if message['content'][0]['type'] != 'image' -%}{{ ' ' }}{%- endif -%}"
    + _PARTS
    + "{{ '<end_of_utterance>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'Assistant:' }}{%- endif -%}"
)


def _tokenizer(marks: tuple[str, ...] = (), end: str = "</s>", **named: str) -> Any:
    """`named`: attributes of the tokenizer that the class's processor asks for, such as image_token."""
    tokenizer = learn_tokenizer(_TEXTS, 400)
    tokenizer.add_special_tokens({"additional_special_tokens": [*marks, *named.values()]})
    for name, token in named.items():
        tokenizer._set_model_specific_special_tokens({name: token})
    tokenizer.eos_token = end
    return tokenizer


def _ids(tokenizer: Any) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _write(folder: Path, kind: Any, config: Any, processor: Any) -> Path:
    torch.manual_seed(0)
    model = kind(config)
    for parameter in model.parameters():  # random, but far enough from nought to write something
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def gemma3(folder: Path) -> Path:
    """Gemma 3, the class of MedGemma."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    tokenizer = _tokenizer(
        ("<start_of_turn>", "<end_of_turn>"),
        "<end_of_turn>",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
    )
    images = Gemma3ImageProcessorPil(size={"height": 28, "width": 28})
    processor = Gemma3Processor(
        images, tokenizer, chat_template=GEMMA.replace("IMAGE", "<start_of_image>"), image_seq_length=4
    )
    text = {**_TEXT, **_ids(tokenizer), "head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 16}
    text["layer_types"] = ["sliding_attention", "full_attention"]
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=text,
        vision_config={**vision, "image_size": 28, "patch_size": 7, "vision_use_head": False},
        mm_tokens_per_image=4,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return _write(folder, Gemma3ForConditionalGeneration, config, processor)


def _qwen_tokenizer() -> Any:
    marks = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
    return _tokenizer(marks, "<|im_end|>", image_token="<|image_pad|>", video_token="<|video_pad|>")


def _qwen(folder: Path, kind: Any, config: Any, processor_kind: Any, vision: dict[str, Any], **text: Any) -> Path:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer = _qwen_tokenizer()
    patch, merge = vision["patch_size"], 2
    pixels = {"shortest_edge": 4 * (patch * merge) ** 2, "longest_edge": 16 * (patch * merge) ** 2}
    images = Qwen2VLImageProcessorPil(size=pixels, patch_size=patch, merge_size=merge, temporal_patch_size=2)
    template = CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    video = VideoSettings({"video_processor_type": "Qwen2VLVideoProcessor", "patch_size": patch})
    processor = without_videos(processor_kind)(images, tokenizer, video, chat_template=template)
    word = tokenizer.convert_tokens_to_ids
    made = config(
        text_config={**_TEXT, **_ids(tokenizer), **text},
        vision_config={**vision, "spatial_merge_size": merge, "temporal_patch_size": 2, "in_channels": 3},
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        vision_start_token_id=word("<|vision_start|>"),
        vision_end_token_id=word("<|vision_end|>"),
    )
    return _write(folder, kind, made, processor)


def qwen2_vl(folder: Path) -> Path:
    """Qwen2-VL."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLProcessor

    vision = {"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 7}
    rope = {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}}
    kinds = (Qwen2VLForConditionalGeneration, Qwen2VLConfig, Qwen2VLProcessor)
    return _qwen(folder, *kinds, vision, **rope)


def qwen2_5_vl(folder: Path) -> Path:
    """Qwen2.5-VL."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32}
    vision |= {"patch_size": 7, "window_size": 28, "fullatt_block_indexes": [1]}
    rope = {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}}
    kinds = (Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig, Qwen2_5_VLProcessor)
    return _qwen(folder, *kinds, vision, **rope)


def qwen3_vl(folder: Path) -> Path:
    """Qwen3-VL."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor

    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32}
    vision |= {"patch_size": 7, "deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "mrope_interleaved": True, "rope_theta": 10000.0}
    kinds = (Qwen3VLForConditionalGeneration, Qwen3VLConfig, Qwen3VLProcessor)
    return _qwen(folder, *kinds, vision, rope_parameters=rope, head_dim=16)


def internvl(folder: Path) -> Path:
    """InternVL, as transformers has it."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLProcessor
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    tokenizer = _tokenizer(
        ("<|im_start|>", "<|im_end|>"),
        "<|im_end|>",
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    images = GotOcr2ImageProcessorPil(size={"height": 28, "width": 28}, crop_to_patches=True, max_patches=3)
    video = VideoSettings({"video_processor_type": "InternVLVideoProcessor"})
    template = CHATML.replace("IMAGE", "<IMG_CONTEXT>\n")
    processor = without_videos(InternVLProcessor)(images, tokenizer, video, image_seq_length=4, chat_template=template)
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = InternVLConfig(
        vision_config={**vision, "image_size": [28, 28], "patch_size": [7, 7]},
        text_config={**_TEXT, **_ids(tokenizer), "model_type": "qwen2"},
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    return _write(folder, InternVLForConditionalGeneration, config, processor)


def idefics3(folder: Path) -> Path:
    """Idefics3, whose structure SmolVLM has too."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    images = Idefics3ImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    tokenizer = _idefics_tokenizer()
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=IDEFICS.replace("IMAGE", "<image>"))
    return _write(folder, Idefics3ForConditionalGeneration, Idefics3Config(**_idefics(tokenizer)), processor)


def smolvlm(folder: Path) -> Path:
    """SmolVLM; its processor needs the package num2words."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMProcessor
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    images = SmolVLMImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    tokenizer = _idefics_tokenizer()
    video = VideoSettings({"video_processor_type": "SmolVLMVideoProcessor", "num_frames": 64, "fps": 1})
    processor = without_videos(SmolVLMProcessor)(
        images, tokenizer, video, image_seq_len=4, chat_template=IDEFICS.replace("IMAGE", "<image>")
    )
    return _write(folder, SmolVLMForConditionalGeneration, SmolVLMConfig(**_idefics(tokenizer)), processor)


def _idefics_tokenizer() -> Any:
    marks = ("<|im_start|>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>")
    rows = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
    return _tokenizer((*marks, *rows), "<end_of_utterance>", image_token="<image>")


def _idefics(tokenizer: Any) -> dict[str, Any]:
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    return {
        "text_config": {**_TEXT, **_ids(tokenizer), "model_type": "llama"},
        "vision_config": {**vision, "image_size": 28, "patch_size": 7},
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "scale_factor": 2,
        "pad_token_id": tokenizer.pad_token_id,
    }


_CLIP = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
_PINPOINTS = [[28, 56], [56, 28], [56, 56]]


def llava(folder: Path) -> Path:
    """LLaVA 1.5 as the hub has it, with a chat template and no cxrgen.json."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = _tokenizer(image_token="<image>")
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=VICUNA.replace("IMAGE", "<image>"),
    )
    config = LlavaConfig(
        vision_config={**_CLIP, "model_type": "clip_vision_model", "image_size": 28, "patch_size": 14},
        text_config={**_TEXT, **_ids(tokenizer), "model_type": "llama"},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
        vision_feature_layer=-2,
    )
    return _write(folder, LlavaForConditionalGeneration, config, processor)


def llava_next(folder: Path) -> Path:
    """LLaVA-NeXT (1.6), whose template ends an answer with no mark."""
    from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration, LlavaNextProcessor
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    tokenizer = _tokenizer(image_token="<image>")
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=_PINPOINTS
    )
    processor = LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=VICUNA.replace("IMAGE", "<image>"),
    )
    config = LlavaNextConfig(
        vision_config={**_CLIP, "model_type": "clip_vision_model", "image_size": 28, "patch_size": 14},
        text_config={**_TEXT, **_ids(tokenizer), "model_type": "llama"},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=_PINPOINTS,
        vision_feature_layer=-2,
    )
    return _write(folder, LlavaNextForConditionalGeneration, config, processor)


def llava_onevision(folder: Path) -> Path:
    """LLaVA-OneVision."""
    from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration, LlavaOnevisionProcessor
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

    tokenizer = _tokenizer(("<|im_start|>", "<|im_end|>"), "<|im_end|>", image_token="<image>", video_token="<video>")
    images = LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=_PINPOINTS)
    video = VideoSettings({"video_processor_type": "LlavaOnevisionVideoProcessor"})
    processor = without_videos(LlavaOnevisionProcessor)(
        images,
        tokenizer,
        video,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=CHATML.replace("IMAGE", "<image>\n"),
    )
    vision = {**_CLIP, "model_type": "siglip_vision_model", "image_size": 28, "patch_size": 7}
    config = LlavaOnevisionConfig(
        vision_config={**vision, "vision_use_head": False},
        text_config={**_TEXT, **_ids(tokenizer), "model_type": "qwen2"},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=_PINPOINTS,
        vision_feature_layer=-1,
    )
    return _write(folder, LlavaOnevisionForConditionalGeneration, config, processor)


TINY_MODELS: dict[str, Callable[[Path], Path]] = {
    each.__name__: each
    for each in (
        gemma3,
        qwen2_vl,
        qwen2_5_vl,
        qwen3_vl,
        internvl,
        idefics3,
        smolvlm,
        llava,
        llava_next,
        llava_onevision,
    )
}


def paligemma(folder: Path) -> Path:
    """PaliGemma, which has no chat template; not among the classes that are trained."""
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    tokenizer = _tokenizer(image_token="<image>")
    images = SiglipImageProcessorPil(size={"height": 28, "width": 28})
    images.image_seq_length = 16
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = PaliGemmaConfig(
        vision_config={**vision, "model_type": "siglip_vision_model", "image_size": 28, "patch_size": 7},
        text_config={**_TEXT, **_ids(tokenizer), "model_type": "gemma", "head_dim": 16},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=32,
    )
    return _write(folder, PaliGemmaForConditionalGeneration, config, PaliGemmaProcessor(images, tokenizer))
