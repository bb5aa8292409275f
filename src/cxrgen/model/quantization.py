"""The one setting for holding frozen weights in fewer bits, for training (QLoRA) and for generation.

Linear layers of the language model are held in 8 bits or in 4 (NF4 with doubly quantised scales, Dettmers et al. 2023);
vision encoder, projector and head stay as they are.
"""

from __future__ import annotations

import importlib.util
import logging

import torch
from transformers import BitsAndBytesConfig

from cxrgen.core.errors import InputError
from cxrgen.model.parts import NOT_LANGUAGE

_KEPT = ["lm_head", *(f"model.{name}" for name in NOT_LANGUAGE)]


def quantization(bits: int, dtype: torch.dtype, flag: str) -> BitsAndBytesConfig:
    """4 or 8 bits, products in `dtype`. Raises InputError naming `flag` without bitsandbytes or a CUDA device."""
    if importlib.util.find_spec("bitsandbytes") is None or not torch.cuda.is_available():
        raise InputError(f'{flag} needs a CUDA device and bitsandbytes (pip install "cxrgen[quant]")')
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns in every layer and step
    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=_KEPT)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=_KEPT,
    )
