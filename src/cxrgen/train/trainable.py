"""Which parameters are trained: one row a mode, and how a mode is set on a model by its parts.

| mode | trained |
|---|---|
| projector | the projector, and the two rows of <im_start> and <im_end> |
| llm | language model and head |
| projector+llm | projector, language model and head |
| full | projector, language model, head and the vision encoder |
| lora | low-rank adapters on the language model's linear layers, the projector, the two rows |
| qlora | as lora, over a language model held in four bits |

`--train_tower` adds the vision encoder to any mode: frozen, last-N (its last N layers that are used) or full. A
projector of one matrix, as LLaVA-Med's, is two in the stock class; the second is the identity and stays frozen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cxrgen.core.errors import InputError, unknown
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.llama_tokenizer import IMAGE_END, IMAGE_START
from cxrgen.model.parts import (
    LANGUAGE,
    PROJECTOR,
    VISION,
    find_parts,
    language_linear_layers,
    projector_modules,
    vision_encoder,
)
from cxrgen.train.config import TrainableConfig
from cxrgen.train.distributed import copy_to_shard, full_tensor


@dataclass(frozen=True)
class Mode:
    """The parts that are trained as they are, and whether the language model gets adapters."""

    parts: tuple[str, ...]
    adapters: bool = False
    four_bit: bool = False

    @property
    def rows(self) -> bool:
        """The embedding rows of <im_start> and <im_end> are trained apart, the rest of the matrix being frozen."""
        return self.parts == (PROJECTOR,)


MODES = {
    "projector": Mode((PROJECTOR,)),
    "llm": Mode((LANGUAGE,)),
    "projector+llm": Mode((PROJECTOR, LANGUAGE)),
    "full": Mode((PROJECTOR, LANGUAGE, VISION)),
    "lora": Mode((PROJECTOR,), adapters=True),
    "qlora": Mode((PROJECTOR,), adapters=True, four_bit=True),
}


def mode_of(name: str) -> Mode:
    if name not in MODES:
        raise unknown("--train_modules", name, MODES)
    return MODES[name]


def set_trainable(model: Any, config: TrainableConfig, rows: Sequence[int] = ()) -> tuple[int, int]:
    """Mark what is trained by `requires_grad`; returns the numbers of trained and of all parameters.

    `rows` are token ids whose input embeddings are trained in modes with `Mode.rows`. Adapters are put into the model,
    which keeps its class. Raises UsageError for a `train_tower` that the model cannot have.
    """
    mode = mode_of(config.train_modules)
    if mode.adapters and not has_adapters(model):  # else those of the checkpoint are trained on, with their own rank
        _add_adapters(model, rows, config)
    parts = find_parts(model)
    for name, parameter in model.named_parameters():
        adapter = "lora_" in name or "trainable_tokens" in name
        copied = "modules_to_save" in name and "original_module" not in name
        wanted = parts.part_of(name) in mode.parts
        parameter.requires_grad_(adapter or (wanted and (copied or not mode.adapters)))
    if mode.rows and not mode.adapters and rows:
        train_rows(model, rows)
    _set_trainable_tower(model, "full" if VISION in mode.parts else config.train_tower)
    _keep_identity(model)
    if config.gradient_checkpointing:
        enable = getattr(model, "activation_checkpointing_enable", None)  # since transformers 5.23
        (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
    return count_trained(model)


def count_trained(model: Any) -> tuple[int, int]:
    """The numbers of trained and of all parameters."""
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    return trained, sum(each.numel() for each in model.parameters())


def mark_trainable(checkpoint: Checkpoint, config: TrainableConfig) -> tuple[int, int]:
    """`set_trainable` for a checkpoint, with the rows of <im_start> and <im_end> where its format has them."""
    rows = []
    if mode_of(config.train_modules).rows and checkpoint.format.start_end:
        rows = row_ids(checkpoint.model, checkpoint.tokenizer, (IMAGE_START, IMAGE_END))
    return set_trainable(checkpoint.model, config, rows)


def has_adapters(model: Any) -> bool:
    return bool(getattr(model, "_hf_peft_config_loaded", False))


def _add_adapters(model: Any, rows: Sequence[int], config: TrainableConfig) -> None:
    """Low-rank adapters (Hu et al. 2021) on the language model's linear layers."""
    from peft import LoraConfig

    adapter = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
        target_modules=language_linear_layers(model),
        modules_to_save=projector_modules(model),
        trainable_token_indices={"embed_tokens": list(rows)} if rows else None,
    )
    with _seen_in_float32(model):
        model.add_adapter(adapter)


@contextmanager
def _seen_in_float32(model: Any) -> Iterator[None]:
    """Within this context matrices of 16 bits look like float32, without memory: adapters take over that type."""
    narrow = [(each, each.data) for each in model.parameters() if each.dtype in (torch.float16, torch.bfloat16)]
    for parameter, data in narrow:
        parameter.data = torch.empty((), device=data.device).expand(data.shape)
    try:
        yield
    finally:
        for parameter, data in narrow:
            parameter.data = data


def _keep_identity(model: Any) -> None:
    """Freeze the second matrix of a projector that is only there to fit the stock class."""
    if getattr(model.config, "projector_hidden_act", "") != "linear":
        return
    for name, module in model.named_modules():
        if "multi_modal_projector" in name and name.endswith("linear_2") and _is_identity(module):
            module.requires_grad_(False)


def _is_identity(layer: nn.Linear) -> bool:
    size = layer.weight.shape[0]
    square = layer.weight.shape == (size, size)
    if layer.weight.is_meta:  # a plan has no values; every published one is the identity
        return square
    return square and bool(torch.equal(layer.weight, torch.eye(size).to(layer.weight)))


def _set_trainable_tower(model: Any, choice: str) -> None:
    """Layers behind the one whose features are read never get a gradient, so they stay frozen in any case."""
    if choice == "frozen":
        return
    layers = _layers_of(vision_encoder(model))
    used = layers[: _layers_used(_feature_layer(model.config), len(layers))]
    if choice == "full":
        _train_vision(model, unused=layers[len(used) :])
        return
    word, _, count = choice.partition("-")
    if word != "last" or not count.isdigit() or not 0 < int(count) <= len(used):
        raise unknown("--train_tower", choice, ("frozen", *(f"last-{n + 1}" for n in range(len(used))), "full"))
    for layer in used[-int(count) :]:
        layer.requires_grad_(True)


def _feature_layer(config: Any) -> Any:
    """The hidden state that features are read from; an encoder that joins tokens knows it of the one inside."""
    inner = getattr(config.vision_config, "feature_layer", None)
    return getattr(config, "vision_feature_layer", -1) if inner is None else inner


def _layers_of(encoder: nn.Module) -> list[nn.Module]:
    """The layers of a vision encoder, its longest list of modules."""
    stacks = [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    return list(max(stacks, key=len, default=()))


def _train_vision(model: Any, unused: Sequence[nn.Module]) -> None:
    """Train the encoder, without what no feature comes from: layers and norm behind the one that is read, a head."""
    parts = find_parts(model)
    before_norm = hasattr(model.config, "vision_feature_layer")  # features are a hidden state, not the output
    for name, parameter in model.named_parameters():
        if parts.part_of(name) == VISION:
            unread = ".head." in name or (before_norm and "post_layernorm" in name)
            parameter.requires_grad_(not unread)
    for layer in unused:
        layer.requires_grad_(False)


def _layers_used(feature_layer: int | Sequence[int], layers: int) -> int:
    """How many of the encoder's layers lie before its features; hidden state 0 is the embedding."""
    wanted = [feature_layer] if isinstance(feature_layer, int) else list(feature_layer)
    return max(index if index >= 0 else layers + 1 + index for index in wanted)


def widen_but_frozen(model: Any, config: TrainableConfig) -> None:
    """Of a model that was read in 16 bits, all in float32, which is exact, but the matrices that stay frozen.

    What `hold_in_bf16` leaves in float32 is so here already; the head, to which rows may be added, is as well.
    """
    mode, parts = mode_of(config.train_modules), find_parts(model)
    trained = {*mode.parts, *([VISION] if config.train_tower != "frozen" else [])}
    matrices = {
        f"{path}.weight"
        for path, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and module is not model.get_output_embeddings()
    }
    first = next(name for name, _ in model.named_parameters())
    for name, parameter in model.named_parameters():
        if name not in matrices or name == first or parts.part_of(name) in trained:
            parameter.data = parameter.data.float()
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.data = buffer.data.float()
    for part in (model.config, *(getattr(model.config, name, None) for name in model.config.sub_configs)):
        if part is not None:
            part.dtype = torch.float32


def hold_in_bf16(model: Any) -> None:
    """Frozen matrices of linear and convolution layers in bfloat16.

    Autocast would make the same of them in every step, so no number changes, and a frozen 7B model takes half the
    memory. What autocast leaves in float32 (embeddings, norms), what is trained and what shares its matrix stay. So
    does the first parameter: transformers calls its type the model's, and casts what images become to it.
    """
    kept = (model.get_input_embeddings().weight, next(model.parameters()))
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            weight = module.weight
            frozen = weight.dtype in (torch.float32, torch.float16) and not weight.requires_grad
            if frozen and all(weight is not each for each in kept):
                weight.data = weight.data.to(torch.bfloat16)


def train_rows(model: Any, ids: Sequence[int]) -> None:
    """Train the input embeddings of `ids` as a small parameter of their own, the matrix staying frozen.

    A gradient and two optimiser moments of the whole matrix would cost a 7B model 1.5 GB for two rows.
    """
    embedding = model.get_input_embeddings()
    embedding.register_parameter("trained_rows", nn.Parameter(embedding.weight[list(ids)].detach().float().clone()))
    embedding.register_buffer("trained_ids", torch.tensor(list(ids)), persistent=False)
    embedding.trained_hook = embedding.register_forward_hook(_with_trained_rows)


def _with_trained_rows(embedding: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    chosen = inputs[0].unsqueeze(-1) == embedding.trained_ids
    rows = chosen.to(embedding.trained_rows.dtype) @ embedding.trained_rows
    return torch.where(chosen.any(dim=-1, keepdim=True), rows.to(output.dtype), output)


def fold_rows(model: Any) -> None:
    """Write rows that were trained apart back into the matrix; all processes must call it where they hold shards."""
    embedding = model.get_input_embeddings()
    if not hasattr(embedding, "trained_rows"):
        return
    embedding.trained_hook.remove()
    rows, ids = embedding.trained_rows, embedding.trained_ids
    del embedding.trained_rows, embedding.trained_ids, embedding.trained_hook
    whole = full_tensor(embedding.weight).clone()
    whole[ids.cpu()] = full_tensor(rows).to(whole)
    copy_to_shard(whole, embedding.weight)


def row_ids(model: Any, tokenizer: Any, names: Sequence[str]) -> list[int]:
    """Ids of the tokens whose rows are trained apart; none where the matrix is also the head's."""
    known = tokenizer.get_vocab()
    missing = [name for name in names if name not in known]
    if missing:
        raise InputError(f"the tokenizer has no token {missing[0]}; add --mm_use_im_start_end to add it")
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    return [] if tied else [known[name] for name in names]
