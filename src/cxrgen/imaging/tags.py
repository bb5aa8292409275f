"""Values of DICOM tags, whatever a device wrote into them.

pydicom raises when a value is not what its type allows, at the moment it is looked at. A tag is not the picture: one
that is empty, of another type or unreadable counts as absent, and whoever needs it decides what is the next best.
"""

from __future__ import annotations

import math
from typing import Any

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.valuerep import PersonName


def value_of(dataset: pydicom.Dataset, keyword: str) -> Any:
    """The value as pydicom gives it; None where there is none or where it cannot be read."""
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom's converters raise anything
        return None
    return None if isinstance(value, str) and not value.strip() else value


def numbers_of(dataset: pydicom.Dataset, keyword: str) -> list[float]:
    """All finite numbers of a tag in their order, decimal commas included; [] where there is none."""
    value = value_of(dataset, keyword)
    if value is None:
        value = _raw_text(dataset, keyword).split("\\")
    elif isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        value = [value]
    return [number for number in map(_number, value) if number is not None]


def whole_of(dataset: pydicom.Dataset, keyword: str, default: int) -> int:
    """The first number of a tag as an integer, else `default`."""
    numbers = numbers_of(dataset, keyword)
    return int(numbers[0]) if numbers else default


def text_of(dataset: pydicom.Dataset, keyword: str) -> str:
    """The text of a tag, several values joined by a backslash; of a sequence the first item's code meaning or value."""
    value = value_of(dataset, keyword)
    if isinstance(value, pydicom.Sequence):
        if not len(value):
            return ""
        return text_of(value[0], "CodeMeaning") or text_of(value[0], "CodeValue")
    if value is None or isinstance(value, bytes):
        return ""
    single = isinstance(value, (str, PersonName)) or not hasattr(value, "__iter__")
    values = [value] if single else list(value)
    return "\\".join(str(each).strip() for each in values).strip("\0 ")


def items_of(dataset: pydicom.Dataset, keyword: str) -> list[pydicom.Dataset]:
    """The items of a sequence; [] where it is absent or is none."""
    value = value_of(dataset, keyword)
    return list(value) if isinstance(value, pydicom.Sequence) else []


def _raw_text(dataset: pydicom.Dataset, keyword: str) -> str:
    """What the file holds for a tag that pydicom could not convert."""
    try:
        element = dataset.get_item(keyword)
    except Exception:
        return ""
    raw = element.value if isinstance(element, RawDataElement) else None
    return raw.decode("ascii", "ignore") if isinstance(raw, bytes) else ""


def _number(value: Any) -> float | None:
    try:
        number = float(value.strip("\0 ").replace(",", ".") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
