"""The same reports by vLLM, which packs many more of them onto a GPU; `pip install "cxrgen[vllm]"`, needs a GPU.

vLLM gets the very prompt that the checkpoint was trained with, as token ids with one image token an image, which it
widens itself; images come to it after the checkpoint's aspect rule. A model with its own chat template gets the ids of
its messages, rendered by that template, likewise with one placeholder an image. An adapter is not merged: its low-rank
matrices are vLLM's own adapter over the base, and what else was trained lies in the weights below (`vllm_adapter`).
vLLM's kernels round otherwise than transformers' do, so now and then a report differs from the one that the other
engine writes. Encoders that vLLM does not know, such as the small one of this package, need the other engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import GenerationConfig

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation, Prediction
from cxrgen.generate.decoding.decode import Failed
from cxrgen.generate.decoding.sampling import drawn_for, report_text, stop_criteria, study_seed
from cxrgen.generate.settings import Settings
from cxrgen.generate.vllm_adapter import part
from cxrgen.model.chat import ChatFamily
from cxrgen.model.conversation import Format, encode_prompt
from cxrgen.model.llama_fast import checked_tokenizer
from cxrgen.model.locate import base_of
from cxrgen.model.pixels import open_image
from cxrgen.model.processors import open_processor
from cxrgen.model.templates import CHAT

_AT_A_TIME = 1024  # studies handed over together; an interruption loses at most these. vLLM forms its own batches
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # of low-rank matrices that vLLM makes room for


class VllmEngine:
    """A checkpoint in vLLM, on this process's GPU."""

    def __init__(self, settings: Settings, most_images: int) -> None:
        _take_one_gpu()
        try:
            import vllm
        except ImportError:
            raise InputError('--engine vllm: vLLM is not installed; pip install "cxrgen[vllm]"') from None
        self.vllm, self.settings = vllm, settings
        processor = open_processor(settings.model)
        self.family = ChatFamily(processor, settings.format) if settings.format.template == CHAT else None
        self.tokenizer = processor.tokenizer
        if settings.format.template not in ("plain", CHAT):
            self.tokenizer, _ = checked_tokenizer(settings.model, self.tokenizer, settings.format)
        weights, options = self._weights()
        generation = GenerationConfig.from_pretrained(weights, local_files_only=True)
        self.stop = stop_criteria(self.tokenizer, generation, settings.format.template)
        if self.family is not None:
            self.stop = replace(self.stop, tokens=self.stop.tokens | self.family.stop_tokens)
        try:
            self.model = vllm.LLM(
                model=str(weights),
                dtype=settings.dtype,
                limit_mm_per_prompt={"image": most_images},
                enable_prefix_caching=True,  # what prompts have in common is computed once
                **options,
            )
        except (RuntimeError, ValueError, NotImplementedError) as error:
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(f"{settings.model}: vLLM cannot open it: {first_line}; try --engine auto") from None

    def _weights(self) -> tuple[Path, dict[str, Any]]:
        """The folder of whole weights, and vLLM's options for the adapter over them, if there is one."""
        folder, self.adapter = self.settings.model, None
        if base_of(folder) is None:
            return folder, {}
        if self.settings.dtype == "float32":
            raise InputError(f"{folder}: vLLM runs adapters in bfloat16 or float16 only; leave --dtype float32 out")
        from vllm.lora.request import LoRARequest

        self.room = TemporaryDirectory(prefix="cxrgen-")  # removed with this engine
        try:
            parts = part(folder, Path(self.room.name))
        except OSError as error:
            raise InputError(f"{self.room.name}: cannot be written ({error.strerror}); set TMPDIR elsewhere") from None
        rank = next((rank for rank in _RANKS if rank >= parts.rank), None)
        if rank is None:
            raise InputError(f"{folder}: rank {parts.rank}, vLLM takes {_RANKS[-1]}; merge it (--merge_adapter True)")
        self.adapter = LoRARequest("trained", 1, str(parts.low_rank))
        return parts.base, {"enable_lora": True, "max_lora_rank": rank}

    def write(
        self, conversations: Sequence[Conversation], folder: Path, failed: Failed
    ) -> Iterator[tuple[int, Prediction]]:
        for start in range(0, len(conversations), _AT_A_TIME):
            asked = []
            for number in range(start, min(start + _AT_A_TIME, len(conversations))):
                try:
                    asked.append((number, self._prompt(conversations[number], folder)))
                except InputError as error:
                    failed(number, str(error))
            prompts = [prompt for _, prompt in asked]
            how = [self._sampling(drawn_for(conversations[number])) for number, _ in asked]
            results = self.model.generate(prompts, how, use_tqdm=False, lora_request=self.adapter)
            for (number, _), result in zip(asked, results):
                written = result.outputs[0]
                text = report_text(list(written.token_ids), self.stop)
                mean = written.cumulative_logprob / len(written.token_ids) if self.settings.samples else None
                yield number, Prediction(conversations[number].id, text, mean)

    def _prompt(self, conversation: Conversation, folder: Path) -> dict[str, Any]:
        format = self.settings.format
        count = len(conversation.images)
        if self.family is not None:
            ids = self.family.prompt_ids(conversation)
        else:
            ids = encode_prompt(conversation.turns[:1], self.tokenizer, _one_token_an_image(format), count)
        images = [open_image(folder / name, format) for name in conversation.images]
        return {"prompt_token_ids": ids, "multi_modal_data": {"image": images}} if images else {"prompt_token_ids": ids}

    def _sampling(self, study: str) -> Any:
        settings = self.settings
        return self.vllm.SamplingParams(
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=study_seed(settings.seed, study) >> 1,  # vLLM's seeds are signed
            max_tokens=settings.max_new_tokens,
            stop=[self.stop.text] if self.stop.text else None,
            stop_token_ids=sorted(self.stop.tokens),
            logprobs=0 if settings.samples else None,  # of the tokens that are drawn, and of no others
        )


def _one_token_an_image(format: Format) -> Format:
    return replace(format, image_tokens=1)


def _take_one_gpu() -> None:
    """Of the GPUs that are visible, the one of this process; it must be chosen before CUDA starts."""
    rank, count = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if count > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[rank % len(visible)]
