"""The processor of a model folder: tokenizer, image processor and chat template, without a part for videos.

Images go through the PIL backend, which needs no torchvision and gives the same pixels with and without it. A class
that also reads videos needs torchvision for that part alone; here the part is kept as its settings, which are written
back with the processor, so that other tools find them again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING, processor_class_from_name
from transformers.utils import PushToHubMixin

from cxrgen.core.tables import read_json

_VIDEO = "video_processor"
_NAMING = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")  # files that name the class
_VIDEO_FILE = "video_preprocessor_config.json"


class VideoSettings(PushToHubMixin):  # type: ignore[misc]
    """The settings of a video processor, which takes no videos."""

    _auto_class = None
    model_input_names: tuple[str, ...] = ()

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "values":
            raise AttributeError(name)
        return self.values.get(name)  # processors ask for settings such as num_frames

    def to_dict(self) -> dict[str, Any]:
        return dict(self.values)


def open_processor(folder: Path) -> Any:
    """The processor of a folder. Raises what transformers raises for files that are missing or damaged."""
    kind = _processor_class(folder)
    if kind is None or _VIDEO not in kind.get_attributes():
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        if hasattr(processor, "image_processor"):
            # torchvision, where it is installed, resizes a little differently.
            processor.image_processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
        return processor
    settings, rest = kind.get_processor_dict(folder, local_files_only=True)
    openers: dict[str, Callable[[], Any]] = {
        "tokenizer": lambda: AutoTokenizer.from_pretrained(folder, local_files_only=True),
        "image_processor": lambda: AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil"),
        _VIDEO: lambda: VideoSettings(_video_settings(folder, settings)),
    }
    parts = [openers[name]() for name in kind.get_attributes()]
    return without_videos(kind).from_args_and_dict(parts, settings, **rest)


def without_videos(kind: Any) -> Any:
    """The processor class, taking `VideoSettings` in place of a video processor; it keeps its name."""

    def check(self: Any, name: str, part: Any) -> Any:
        return None if name == _VIDEO else kind.check_argument_for_proper_class(self, name, part)

    return type(kind.__name__, (kind,), {"check_argument_for_proper_class": check})


def _processor_class(folder: Path) -> Any:
    """The class that the folder's files name, or that its model class has; None where neither says one."""
    for name in _NAMING:
        content = read_json(folder / name) if (folder / name).is_file() else {}
        if isinstance(content, dict) and content.get("processor_class"):
            return processor_class_from_name(content["processor_class"])
    if not (folder / "config.json").is_file():
        return None
    config = type(AutoConfig.from_pretrained(folder, local_files_only=True))
    return PROCESSOR_MAPPING.get(config, None)


def _video_settings(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    if isinstance(settings.get(_VIDEO), dict):
        return dict(settings[_VIDEO])
    content = read_json(folder / _VIDEO_FILE) if (folder / _VIDEO_FILE).is_file() else {}
    return content if isinstance(content, dict) else {}
