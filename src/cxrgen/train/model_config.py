"""The settings of what a training run starts from: a checkpoint, parts that are joined, or a new small model."""

from __future__ import annotations

from dataclasses import dataclass

from cxrgen.train.options import option

TEMPLATES = ("plain", "v0", "v1", "mistral", "chat")
ASPECTS = ("square", "pad", "black")
STEMS = ("strided", "dense")
LABEL_RULES = ("answer", "original")


@dataclass(frozen=True)
class ModelConfig:
    """What `init_model` starts from, and the points of the conversation format that are set anew."""

    model_name_or_path: str = option("", "checkpoint folder to start from; none makes a new small model", metavar="DIR")
    language_model: str = option(
        "", "new model: language model to join to a vision encoder; smollm2-135m is the packaged one", metavar="DIR"
    )
    vision_tower: str = option(
        "",
        "vision encoder that replaces the checkpoint's own, or is joined to --language_model; "
        "efficientnet-lite0 is the packaged one",
        metavar="DIR",
    )
    pretrain_mm_mlp_adapter: str = option("", "projector weights to start from (.bin, .safetensors)", metavar="FILE")
    version: str = option("", "conversation template; default: the checkpoint's, else v0", choices=("", *TEMPLATES))
    label_rule: str = option(
        "", "which tokens are labels; original: LLaVA-Med's rule; default: the checkpoint's", choices=("", *LABEL_RULES)
    )
    model_max_length: int = option(0, "longest sample in tokens; 0: the checkpoint's, 2048 for a new model", at_least=0)
    mm_use_im_start_end: bool = option(False, "put <im_start> and <im_end> around an image")
    mm_vision_select_layer: int = option(0, "hidden layer that features are read from; 0: the checkpoint's")
    token_pooling: int = option(
        1,
        "new joined model: N x N neighbouring tokens of an image become one (pixel shuffle), for encoders of many",
        at_least=1,
    )
    image_aspect_ratio: str = option(
        "", "how an image becomes square; default: the checkpoint's, square for others'", choices=("", *ASPECTS)
    )


@dataclass(frozen=True)
class TinyModelConfig:
    """Sizes of a new small model; `init_model` reads them where no checkpoint is given."""

    image_size: int = option(128, "image size in pixels", at_least=1)
    image_tokens: int = option(8, "tokens an image", at_least=1)
    encoder_stem: str = option(
        STEMS[0],
        "first layers of the vision encoder: strided convolutions; dense ones with max-pools, which learn small "
        "findings in fewer steps",
        choices=STEMS,
    )
    vocabulary: int = option(1000, "word pieces of the tokenizer", at_least=1)
    layers: int = option(3, "layers of the language model", at_least=1)
    hidden_size: int = option(256, "width of the language model", at_least=1)
    heads: int = option(4, "attention heads", at_least=1)
