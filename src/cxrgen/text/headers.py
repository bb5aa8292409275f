"""What a report's section headers are called: the names of MIMIC's official parser, and a wider, safer vocabulary.

The official names come from one table and two lists of substrings, slips included (any header with "chest" in it is
findings); they are kept exactly, because published splits and labels were made with them. The wider vocabulary serves
every other source: it knows more spellings, but a line is a header only when its words are header words, so that
sub-labels ("LEFT PICC:") and sentences with a colon stay text. Source of the official names: MIT-LCP, mimic-cxr,
txt/section_parser.py.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache

_OFFICIAL = {
    "comparison": "comparisons, reference exam, comparison exam, comparison film, comparision, comparsion, "
    "comparrison, comparisions",
    "history": "clinical history, clinical information, patient history, pfi",
    "indication": "reason for examination, reason for exam, clinical indication, idication",
    "examination": "exam, type of examination",
    "impression": "conclusion, findings and impression, findings/impression, findings/ impression, impresson, "
    "imprression, imoression, impressoin, imprssion, impresion, imperssion, mpression, impession, ndication",
    "findings": "finding, findins, findindgs, findgings, findngs, findnings, finidngs, reference findings",
    "recommendations": "recommendation(s), recommendation",
    "wet read": "wetread",
}
_OFFICIAL_NAMES = {header: name for name, headers in _OFFICIAL.items() for header in headers.split(", ")}
_OFFICIAL_NAMES["chest, two views"] = "findings"
_OFFICIAL_NAMES |= {
    name: name
    for name in (
        "preamble", "impression", "comparison", "indication", "findings", "examination", "technique", "history",
        "notification", "addendum", "date", "comment", "wet read", "recommendations",
    )
}  # fmt: skip
_WITHIN = ("impression", "findings", "history", "comparison", "addendum")
_FINDINGS_WITHIN = (
    "chest", "portable", "pa and lateral", "lateral and pa", "ap and lateral", "lateral and ap", "frontal and",
    "two views", "frontal view", "pa view", "ap view", "one view", "lateral view", "bone window", "frontal upright",
    "frontal semi-upright", "ribs", "pa and lat",
)  # fmt: skip


def official_name(header: str) -> str:
    """The official parser's name of a header; one that it does not know keeps its own, in lower case."""
    name = header.lower().strip()
    if name in _OFFICIAL_NAMES:
        return _OFFICIAL_NAMES[name]
    for known in _WITHIN:
        if known in name:
            return known
    return "findings" if any(words in name for words in _FINDINGS_WITHIN) else name


_WIDER = {
    "impression": "impressions, conclusions, opinion, interpretation, final impression, overall impression, "
    "radiologist impression, radiologist s impression, radiologists impression, impression and plan, assessment, "
    "impression recommendation, impression and recommendation s, findings impression",
    "findings": "radiographic findings, chest findings, report findings, description, report, radiology report, "
    "results, narrative",
    "indication": "indications, ndication, reason, reason for the exam, reason for the examination, reason for study, "
    "reason for the study, reason for visit, reason for request, clinical question, clinical indications, "
    "clinical presentation, exam indication, indication for study, indication for exam, clinical reason",
    "history": "hx, clinical hx, clinical data, clinical details, relevant history, medical history, clinical notes, "
    "past medical history, history of present illness, clinical statement",
    "technique": "techniques, procedure, procedures, views, projection, projections, method, procedure comments, "
    "protocol, imaging technique, number of views",
    "comparison": "comparison study, comparison studies, comparison exams, compared to, compared with, prior, priors, "
    "prior study, prior studies, prior exam, prior exams, previous study, previous studies, previous exam, compare",
    "examination": "examinations, exams, study, exam type, type of exam, study type, exam description, radiograph, "
    "examination type, type of study",
    "recommendations": "recommendation s, follow up, followup, advice, suggestion, suggestions, recommended",
    "summary": "summary code, summary statement, summary impression",
    "addendum": "addenda, addendum report",
    "notification": "communication, notifications, critical results",
    "comment": "comments, note, notes",
    "date": "exam date, date of exam, study date, date of study, date of examination",
    "signature": "electronically signed by, signed by, dictated by, signed, radiologist, attending, reported by, "
    "end of impression, end of report, attestation, attending attestation, radiologist attestation, teaching physician "
    "statement, teaching physician attestation, physician statement, attending statement, attending physician, "
    "resident, fellow, transcribed by, transcriptionist, approved by, verified by, reviewed by, finalized by, "
    "interpreted by, attending radiologist, staff radiologist, reading radiologist",
}
_KNOWN = {" ".join(re.findall("[a-z]+", header)): name for header, name in _OFFICIAL_NAMES.items()}
_KNOWN |= {header: name for name, headers in _WIDER.items() for header in (name, *headers.split(", "))}
SECTION_NAMES = frozenset(_KNOWN.values()) | {"last_paragraph", "full report"}  # any other is a report's own words
# Names by a word within a header of header words only, the most telling first.
_TELLING = {
    "addendum": ("addendum",),
    "impression": ("impression", "impressions", "conclusion", "conclusions"),
    "findings": ("finding", "findings"),
    "recommendations": ("recommendation", "recommendations"),
    "technique": ("technique", "techniques"),
    "comparison": ("comparison", "comparisons"),
    "indication": ("indication", "indications", "reason"),
    "history": ("history",),
    "examination": ("exam", "examination"),
}
_WORD_LISTS = {
    "titles": "chest thorax cxr view views radiograph radiographs xray portable frontal lateral ap pa lat ribs film "
    "films",
    "fillers": "a an and of or for the to with in on at s x ray one two three single double multiple upright erect "
    "semi supine standing sitting semierect semiupright left right bilateral posteroanterior anteroposterior clinical "
    "patient relevant medical current additional other final preliminary overall radiology radiologic radiological "
    "radiographic radiographical radiologist radiologists report reports study studies image imaging type plan only "
    "number bone window series obtained performed present illness exam examination date time prior previous v xr "
    "results",
    "anatomy": "and lungs lung heart size cardiac mediastinum cardiomediastinum cardiomediastinal silhouette hila "
    "pleura pleural space spaces bones osseous structures soft tissues airways airway diaphragm lines tubes support "
    "devices",
}
_TITLES, _FILLERS, _ANATOMY = (frozenset(words.split()) for words in _WORD_LISTS.values())
_WORDS = _TITLES | _FILLERS | {word for words in _TELLING.values() for word in words}
_LONG_NAMES = ("findings", "impression", "indication", "comparison", "technique", "examination", "recommendation",
               "recommendations", "conclusion")  # fmt: skip
_ALIKE = 0.87  # "findnigs" is findings, "compression" is not impression


@lru_cache(maxsize=4096)
def wider_name(header: str) -> tuple[str, bool]:
    """(name, whether the header is that name's own word), ("", False) for what is no header.

    Case, digits and punctuation do not matter. A title such as "CHEST, TWO VIEWS" is findings, but not by its own word.
    """
    words = re.findall("[a-z]+", header.lower().replace("x-ray", "xray").replace("’", "'"))
    if not words:
        return "", False
    joined = " ".join(words)
    if joined in _KNOWN:
        return _KNOWN[joined], joined not in {"chest two views", "reference findings"}
    if len(words) == 1 and (alike := get_close_matches(joined, _LONG_NAMES, n=1, cutoff=_ALIKE)):
        return _KNOWN[alike[0]], True
    header_words = all(word in _WORDS for word in words)
    if header_words or header.isupper():
        for name, telling in _TELLING.items():
            if any(word in telling for word in words):
                return name, False
    return ("findings", False) if header_words and not _TITLES.isdisjoint(words) else ("", False)


def is_anatomy(header: str) -> bool:
    """Whether a label names a part of the chest, as structured reports label the lines of their findings."""
    words = re.findall("[a-z]+", header.lower())
    return 0 < len(words) <= 4 and all(word in _ANATOMY for word in words) and words[0] != "and"


OWN_WORDS = tuple(sorted(_KNOWN, key=len, reverse=True))  # longest first, so that a pattern of them takes the longest
