"""The classifier of views as a torch network, its training, and the file that prepare reads in NumPy.

The network is small enough to learn on two cores in minutes and to ship with the package; its weights are stored as
16-bit numbers. Every batch is drawn anew, so there are no epochs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from cxrgen.core.files import replacing
from cxrgen.core.progress import track
from cxrgen.imaging.view_classifier import CLASSES, FORM, HIDDEN, LAYERS, SIDE

Draw = Callable[[np.random.Generator, int], tuple[NDArray[np.float32], NDArray[np.int64]]]
_BATCH, _LEARNING_RATE, _DECAY, _DROPOUT, _SMOOTHING = 64, 3e-3, 1e-3, 0.3, 0.05


class ViewNetwork(nn.Module):
    """What `imaging.view_classifier` computes in NumPy."""

    def __init__(self) -> None:
        super().__init__()
        for number, (before, after) in enumerate(pairwise(LAYERS), 1):
            self.add_module(f"conv{number}", nn.Conv2d(before, after, 3, padding=1))
        side = SIDE >> (len(LAYERS) - 1)
        self.hidden = nn.Linear(LAYERS[-1] * side * side, HIDDEN)
        self.scores = nn.Linear(HIDDEN, len(CLASSES))

    def forward(self, pictures: Tensor) -> Tensor:
        """Thumbnails (N, SIDE, SIDE) to scores (N, 3)."""
        values = torch.stack([pictures, pictures.flip(-1)], 1)
        for number in range(1, len(LAYERS)):
            values = torch.max_pool2d(torch.relu(self.get_submodule(f"conv{number}")(values)), 2)
        flat = nn.functional.dropout(values.flatten(1), _DROPOUT, self.training)
        scores: Tensor = self.scores(torch.relu(self.hidden(flat)))
        return scores


def fit(draw: Draw, steps: int, seed: int) -> ViewNetwork:
    """A network trained on `steps` drawn batches; the same seed gives the same weights on the same processor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, generator = ViewNetwork(), np.random.default_rng([seed, 1])
        optimizer = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, steps)
        recent = [0.0]
        for step in track(range(steps), "training", steps, lambda: f"loss {recent[-1]:.3f}"):
            pictures, classes = draw(generator, _BATCH)
            scores = network(torch.from_numpy(pictures))
            loss = nn.functional.cross_entropy(scores, torch.from_numpy(classes), label_smoothing=_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            recent.append(loss.item() if step == 0 else 0.98 * recent[-1] + 0.02 * loss.item())
    return network.eval()


def write_weights(path: Path, network: ViewNetwork, metadata: dict[str, str]) -> None:
    """The weights as 16-bit safetensors; `metadata` says what they were made from."""
    tensors = {name: tensor.detach().half() for name, tensor in network.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(_in_order(save(tensors, {"cxrgen_views": FORM, **metadata})))


def _in_order(data: bytes) -> bytes:
    """The same safetensors file with its header sorted: the library writes the metadata in any order."""
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]
