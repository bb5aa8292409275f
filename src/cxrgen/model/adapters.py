"""What transformers leaves out when it opens an adapter: the column lengths of DoRA (Liu et al. 2024).

peft writes them as `lora_magnitude_vector`, transformers 5.23 looks for `lora_magnitude_vector.default.weight`, and a
missing one gets the length of the base. They are filled in here, and taken off the list of what is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cxrgen.model.folder_checks import open_safetensors

_FILE = "adapter_model.safetensors"
_PREFIX, _MAGNITUDE = "base_model.model.", "lora_magnitude_vector"


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
