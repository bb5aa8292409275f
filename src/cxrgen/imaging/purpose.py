"""What a DICOM image is for, by its tags: a radiograph of the chest to be read, or something else.

Exports hold images of other parts of the body, screen shots, dose reports, and beside the picture that was read the raw
detector values it was made from. Only words that are known to mean something else are believed: devices leave these
tags empty or fill them with words of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cxrgen.core.records import UNKNOWN
from cxrgen.imaging.rejects import ImageReject

PURPOSE_TAGS = ("Modality", "BodyPartExamined", "ImageType", "PresentationIntentType", "SOPClassUID")
RADIOGRAPHS = ("CR", "DR", "DX", "RG", "OT")
_OTHER_MODALITIES = ("CT", "MR", "MG", "US", "NM", "PT", "XA", "RF", "PX", "IO", "SR", "PR", "KO", "DOC", "XC")
_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"  # digital X-ray image storage, for processing
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_CHEST = re.compile("CHEST|THORA|TORAX|LUNG|PULMO|RIB|STERN|HEART|CLAVIC|TRUNK|WHOLE|BODY")
_OTHER_PARTS = {
    "ABDOMEN", "ANKLE", "ARM", "BREAST", "CALCANEUS", "CERVICALSPINE", "COCCYX", "CSPINE", "DENTAL", "ELBOW",
    "EXTREMITY", "FACE", "FEET", "FEMUR", "FIBULA", "FINGER", "FOOT", "FOREARM", "HAND", "HANDS", "HEAD", "HEEL",
    "HIP", "HIPS", "HUMERUS", "JAW", "KNEE", "KNEES", "LEG", "LOWERLEG", "LSPINE", "LUMBARSPINE", "MANDIBLE",
    "MAXILLA", "NECK", "ORBIT", "PATELLA", "PELVIS", "SACRUM", "SHOULDER", "SINUS", "SINUSES", "SKULL", "SPINE",
    "TEETH", "THIGH", "THUMB", "TIBIA", "TIBIAFIBULA", "TOE", "TOES", "UPPERARM", "WRIST", "ZYGOMA",
}  # fmt: skip
_NO_IMAGE = ("LOCALIZER", "DOSE", "SCREEN SAVE", "SCREENSAVE", "SCREEN SHOT", "SCREENSHOT", "REPORT", "DEMOGRAPHICS")


def refusal(tags: Mapping[str, str]) -> ImageReject | None:
    """Why an image with these tags (texts by keyword, `PURPOSE_TAGS`) is none to be read; None if it may be one."""
    modality = tags.get("Modality", "").upper()
    if modality and modality not in RADIOGRAPHS:
        said = modality if modality in _OTHER_MODALITIES else "another"
        return ImageReject("not-a-radiograph", f"its modality is {said}; {', '.join(RADIOGRAPHS)} are read")
    part = re.sub("[^A-Z]", "", tags.get("BodyPartExamined", "").upper())
    if part in _OTHER_PARTS and not _CHEST.search(part):
        return ImageReject("other-body-part", f"it shows {part.lower()} by its tag BodyPartExamined, not the chest")
    kind = tags.get("ImageType", "").upper().replace("_", " ")
    found = next((word for word in _NO_IMAGE if word in kind), "")
    if found:
        return ImageReject("not-a-radiograph", f"its image type says {found.lower()}; export the image itself")
    return None


def remarks(tags: Mapping[str, str]) -> list[str]:
    """Notes, "code: words", on what an image is for."""
    notes = []
    if is_for_processing(tags):
        notes.append("for-processing: raw detector values, not the picture that was read; export that one")
    if tags.get("SOPClassUID") == _SECONDARY_CAPTURE:
        notes.append("secondary-capture: a picture of a picture; text may be part of it")
    elif "SECONDARY" in tags.get("ImageType", "").upper().split("\\"):
        notes.append("derived: made from other pictures by its image type")
    return notes


def is_for_processing(tags: Mapping[str, str]) -> bool:
    """Whether these are raw detector values, from which the picture that is read was made."""
    intent = tags.get("PresentationIntentType", "").upper()
    return intent == "FOR PROCESSING" or (not intent and tags.get("SOPClassUID") == _FOR_PROCESSING)


def superseded(views: Sequence[str], raw_values: Sequence[bool]) -> list[bool]:
    """Which images of one study are raw detector values of a view that the study also holds as it was read.

    `views` are their view classes. A picture whose view is unknown may be made from any of them.
    """
    read = {view for view, raw in zip(views, raw_values) if not raw}
    return [raw and bool(read & {view, UNKNOWN}) for view, raw in zip(views, raw_values)]
