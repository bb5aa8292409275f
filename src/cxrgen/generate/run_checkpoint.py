"""A training's `checkpoint-N` as a model: `cxrgen export` makes a ready folder inside it, once.

A checkpoint holds trained tensors and the optimiser's state, not a model. What it takes to put them together belongs to
the training, which stands above this room; so the command is called, as a user would.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.progress import say


def ready_folder(folder: Path) -> Path:
    """`folder`, or the model folder of the training checkpoint that it is. Raises InputError with export's reason."""
    match = re.fullmatch(r"checkpoint-(\d+)", folder.name)
    if match is None or not (folder / "state.json").is_file():
        return folder
    model = folder / "model"
    if not (model / "cxrgen.json").is_file():
        say(f"{folder}: a training checkpoint; `cxrgen export` makes {model}")
        words = ("export", str(folder.absolute().parent), "--step", match[1], "--out", str(model))
        done = subprocess.run([sys.executable, "-m", "cxrgen", *words], capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
            raise InputError(f"{folder}: {reason.removeprefix('cxrgen export: ')}")
    return model
