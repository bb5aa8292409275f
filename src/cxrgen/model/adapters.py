"""What transformers leaves out when it opens an adapter: rows that its base lacks, and the column lengths of DoRA.

An adapter holds its own rows of <im_start> and <im_end>, but its base may end before them; transformers puts adapters
on the base as it is. peft writes the lengths (Liu et al. 2024) as `lora_magnitude_vector`, transformers 5.23 looks for
`lora_magnitude_vector.default.weight`, and a missing one gets the length of the base. They are filled in here, and
taken off the list of what is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from cxrgen.model.folder_checks import open_safetensors

_FILE = "adapter_model.safetensors"
_PREFIX, _MAGNITUDE = "base_model.model.", "lora_magnitude_vector"


def open_adapter(folder: Path, base: Path, rows: int, dtype: torch.dtype, **how: Any) -> tuple[Any, dict[str, Any]]:
    """The base with the adapter `folder` on it, and transformers' loading info; the base gets `rows` embeddings."""
    how |= {"dtype": dtype, "local_files_only": True}
    if rows <= AutoConfig.from_pretrained(base, local_files_only=True).get_text_config().vocab_size:
        model, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True, **how)
        return model, info
    model = AutoModelForImageTextToText.from_pretrained(base, **how)
    add_rows(model, rows)
    return model, model.load_adapter(str(folder), adapter_kwargs={"local_files_only": True}).to_dict()


def add_rows(model: Any, count: int) -> None:
    """Make `count` rows of embeddings and head, where there are fewer: new ones are the mean of all rows before."""
    before = model.get_input_embeddings().weight.shape[0]
    if count <= before:
        return
    model.resize_token_embeddings(count, mean_resizing=False)
    with torch.no_grad():
        for matrix in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
            matrix[before:] = matrix[:before].mean(dim=0)


def load_magnitudes(folder: Path, model: Any, info: dict[str, Any]) -> None:
    """Fill in the magnitudes that loading left over, by transformers' loading info, which is corrected."""
    left = {name for name in info["missing_keys"] if _MAGNITUDE in name}
    if not left:
        return
    file = open_safetensors(folder / _FILE)
    parameters = dict(model.named_parameters())
    loaded = set()
    for key in file.keys():  # noqa: SIM118
        name = f"{key.removeprefix(_PREFIX)}.default.weight"
        if name in left:
            with torch.no_grad():
                parameters[name].copy_(file.get_tensor(key))
            loaded.add(name)
    info["missing_keys"] = set(info["missing_keys"]) - loaded
    info["unexpected_keys"] = {name for name in info["unexpected_keys"] if f"{name}.weight" not in loaded}
