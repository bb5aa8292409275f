"""The 14 chest X-ray observations read from a report by rules: present, absent, uncertain or not mentioned.

Three steps a sentence, as in the NegEx and ConText family: phrases name an observation, cue words open a scope of
negation or doubt before or after them, and words such as "but" close it. Over the sentences of a report, present beats
uncertain beats absent. Rules are fast and can be read and argued with; they miss what needs understanding. They are no
CheXbert and carry another name. The word lists are this project's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

OBSERVATIONS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    "No Finding",
)
_BOTH_AIR_AND_FLUID = "Pneumothorax Pleural Effusion"
_OTHER = "other"  # abnormal but none of the 14: only keeps "No Finding" away

_PLEURAL = r"pleural(?:[ -]based)?(?: and parenchymal|[ /-]parenchymal)?"
_NODULAR = r"(?:nodular|nodule-?like|mass-?like)"
_ROOM = (
    r"(?:left|right|bilateral|adjacent|partial|complete|upper|lower|middle|lobar|segmental|lung|lobe|lobes|the|of|an?)"
)
_SITED_LINE = (
    r"(?:central|venous|picc|subclavian|jugular|ij|arterial|dialysis|femoral|cvp|support|monitoring|indwelling)"
)
# Phrases that name an observation wherever they stand. The pattern named first wins where two begin at the same place.
_PHRASES: dict[str, str] = {
    _BOTH_AIR_AND_FLUID: r"hydro-?pneumothora(?:x|ces)|hemo-?pneumothora(?:x|ces)",
    "Pneumothorax": r"pneumothora(?:x|ces)|ptx",
    "": (  # look like an observation and are none
        r"""
        peric[a-z]+ (?:effusions?|fluid|thickening)|(?:joint|knee|subdural) effusions?|mass effect|body mass
        (?:soft[ -]tissue|subcutaneous|chest wall|ankle|leg|peripheral|mediastinal) edema
        (?:bon[ey]|osseous|bone mineral|mineral) densit(?:y|ies)|infection control|portable|port[a-z]{3,}
        (?:fissur[a-z]+|mid|kerley(?: [abc])?|junction|fat|skin|streaky|pleural) lines?|midline
        (?:vertebr[a-z]+(?: body)?|disc) collapse|collapse of (?:the )?(?:[a-z0-9]+ )?vertebra[a-z]*
    """
    ),
    "Pleural Other": rf"""
        {_PLEURAL} (?:thickening|scar(?:ring|s)?|plaques?|calcifications?|fibrosis|reaction)
        {_PLEURAL} (?:disease|nodularity|abnormality)
        fibro-?thorax|(?:thickening|scarring) of the pleura|calcified pleura(?:l [a-z]+)?
        (?:bi)?apical (?:pleural )?(?:capping|cap)|pleural-?parenchymal scarring
    """,
    "Pleural Effusion": r"""
        (?:pleural |sub-?pulmonic )?effusions?|pleural fluid(?: collections?)?|hydrothora(?:x|ces)
        hemothora(?:x|ces)
    """,
    "Consolidation": r"consolidat(?:ions?|ive|ed|ing)",
    "Pneumonia": r"(?:broncho)?pneumonias?|pneumonic|infections?|infectious(?: [a-z]+)?",
    "Atelectasis": rf"""
        atelecta[a-z]+|collapse of (?:the )?(?:entire )?(?:left|right|upper|lower|middle|lung|lobe|lingula)[a-z]*
        (?:lobar|lobe|lung|pulmonary|complete|partial|passive) collapse
        collapsed (?:lung|lobe|left|right|upper|lower)|collapse(?= (?:of )?(?:{_ROOM} ){{0,4}}(?:lung|lobe))
    """,
    "Edema": r"""
        (?:pulmonary |interstitial |alveolar |vascular )*(?:o?edema)|(?:congestive )?heart failure
        congestive failure|chf
        (?:pulmonary |vascular |venous |pulmonary vascular |pulmonary venous |hilar |perihilar |central )+congestion
        (?:fluid|volume) overload|cephali[sz]ation|vascular engorgement
        engorgement of the (?:pulmonary )?vas[a-z]+|vascular redistribution|congestive changes?
    """,
    "Lung Lesion": rf"""
        {_NODULAR} (?:[a-z]+ )?(?:opacit[a-z]+|opacification|densit[a-z]+|lesions?|areas?|foc[a-z]+|shadows?)
        (?:micro)?nodules?|(?:cavitary|lung|pulmonary|parenchymal|hilar) lesions?|mass(?:es)?
        (?:adeno)?carcinomas?|neoplas[a-z]+|tumou?rs?|metasta(?:sis|ses|tic disease)|malignancy
        bronchogenic cancer|lung cancer
    """,
    "Lung Opacity": r"""
        opacit(?:y|ies)|opacifications?|opacified|infiltrat(?:es?|ions?|ive)
        air-?space (?:disease|process(?:es)?|changes?)|air space (?:disease|process(?:es)?|changes?)
        ground[ -]glass|densit(?:y|ies)|haziness|reticulations?
        (?:increased|prominent|coarse[a-z]*|thickened) (?:[a-z]+ ){0,2}markings
        interstitial (?:markings|thickening|prominence|abnormalit(?:y|ies)|lung disease|disease|changes?|process)
    """,
    "Fracture": r"fractures?|fractured|fx",
    "Support Devices": rf"""
        catheters?|picc|{_SITED_LINE} (?:[a-z]+ )?lines?|lines? (?:and|or|/) tubes?|lines|tubes?|pacemakers?
        pacers?|pacing|defibrillators?|a?icds?|leads|electrodes?|port|ports|port-?a-?cath|mediport|drains?
        pigtail|stents?|clips?|wires?|sternotomy(?: (?:wires?|sutures?|xxxx))?
        (?:prosthetic|mechanical|artificial|bioprosthetic|replaced?) (?:[a-z]+ )?valves?
        valve (?:replacement|prosthesis|repair)|prosthes[ie]s|hardware|arthroplasty|screws?|rods?|anchors?
        devices?|tracheostomy|swan[ -]?ganz|balloon pump|(?:ivc|caval) filter|cannula[a-z]*|coils|stimulators?
        hickman|infusaport|staples?|sutures?|(?:ex|in)tubated|implants?
    """,
    _OTHER: r"""
        emphysema(?:tous)?|copd|chronic obstructive [a-z]+ disease|hyper-?(?:inflat|expan|aerat|lucen)[a-z]+
        fibrosis|bronchiectasis|granulomas?|granulomatous|hernia|scar(?:s|ring)?|scoliosis|adenopathy
        lymphadenopathy|tuberculosis|sarcoid[a-z]*|pneumomediastinum|pneumoperitoneum|aneurysm|pneumonectomy
        lobectomy|hilar enlargement|enlarged hil[a-z]+|eventration
    """,
}
# Observations stated of a subject: "the heart ... is mildly enlarged". The named group `at` is the mention.
_HEART = (
    r"(?:heart(?: and [a-z]+(?: (?:contours?|silhouettes?|structures?))?)?|cardiac(?: and [a-z]+)?)"
    r"(?: (?:size|silhouettes?|shadow|contours?|diameter|border|sizes))*"
)
_MEDIASTINUM = r"(?:cardio-?)?mediastin(?:um|al)(?: (?:silhouettes?|contours?|structures?|width|shadow|borders?))*"
_BETWEEN = r"(?:,? (?!(?:no|but|lungs?|with|without|there|aorta|however|pulmonary)\b)[a-z0-9'/-]+){0,7}?,? "
_NORMAL = r"normal(?: limits)?|unremarkable|not enlarged|top[ -]normal|upper limits|within limits|normal-?sized"
_LARGE = r"enlarged|enlargement|increased(?! since)|widened|widening|globular|large(?! \w+ effus)"
_SUBJECTS = tuple(
    (name, value, re.compile(pattern))
    for name, value, pattern in (
        ("Cardiomegaly", 1, rf"\b{_HEART}\b{_BETWEEN}(?P<at>{_LARGE})\b"),
        (
            "Cardiomegaly",
            1,
            r"(?P<at>cardiomegaly|(?:heart|cardiac) enlargement|increase in (?:the )?(?:heart|cardiac) size)\b",
        ),
        (
            "Cardiomegaly",
            1,
            rf"(?P<at>enlarge(?:d|ment of)|prominence of)(?: (?:the|appearing))?(?: [a-z]+)?? {_HEART}\b",
        ),
        ("Cardiomegaly", -1, rf"borderline(?: in)?(?: [a-z]+)?? (?P<at>{_HEART}|enlarged|cardio?megaly)\b"),
        ("Cardiomegaly", -1, rf"\b{_HEART}\b{_BETWEEN}(?P<at>borderline)\b"),
        ("Cardiomegaly", 0, rf"\b{_HEART}\b{_BETWEEN}(?P<at>{_NORMAL})\b"),
        (
            "Cardiomegaly",
            0,
            rf"(?P<at>normal|unremarkable)(?: (?:in )?(?:size|sized|the|of|appearing))*(?: [a-z]+ and)? {_HEART}\b",
        ),
        ("Enlarged Cardiomediastinum", 1, rf"\b{_MEDIASTINUM}\b{_BETWEEN}(?P<at>{_LARGE})\b"),
        (
            "Enlarged Cardiomediastinum",
            1,
            rf"(?P<at>widen(?:ed|ing of)|enlarge(?:d|ment of))(?: the)?(?: [a-z]+)?? {_MEDIASTINUM}\b",
        ),
        ("Enlarged Cardiomediastinum", 0, rf"\b{_MEDIASTINUM}\b{_BETWEEN}(?P<at>{_NORMAL})\b"),
        (
            "Enlarged Cardiomediastinum",
            0,
            rf"(?P<at>normal|unremarkable)(?: (?:heart|cardiac|size|and|the|of|appearing))* {_MEDIASTINUM}\b",
        ),
    )
)
_HAS_SUBJECT = re.compile(r"heart|cardi|mediastin")

_SEEN = (
    r"(?:seen|identified|present|visuali[sz]ed|visible|noted|evident|appreciated|detected|demonstrated|apparent|observed|found"
    r"|suspected|appreciable|recogni[sz]ed|there|convincing|shown|in evidence)"
)
_VERB = r"(?:is|are|was|were|has|have|had|be|been)"
_IN_PART = r"(?:nearly|almost|partially|incompletely|not|mostly|largely|near|partly)"
_CHANGE = (
    r"(?:changed?|changes|(?:in|de)creased?|progress(?:ed|ion)|improve(?:d|ment)|worsen(?:ed|ing)|different|altered)"
)
# One pass finds every cue; where two could begin at the same place, the earlier kind and pattern wins.
_CUES: dict[str, str] = {
    "neutral": rf"""
        no (?:[a-z]+ ){{0,3}}?{_CHANGE}(?: (?:in|of|from))?|not (?:[a-z]+ )?{_CHANGE}
        without (?:[a-z]+ ){{0,2}}{_CHANGE}|no longer (?:as )?(?:large|big|prominent|extensive)|not only|not yet
        no other|may be (?:helpful|obtained|useful|performed)
        (?:{_VERB} )?{_IN_PART}(?: [a-z]+)? (?:resol[a-z]+|clear[a-z]*)
        (?:consistent|compatible|associated|along|together|in keeping) with|apart
    """,
    "doubt after": rf"""
        (?:{_VERB} )?(?:not|never) (?:[a-z]+ )?(?:be )?(?:excluded|ruled out)
        (?:cannot|can not|can ?not|could not|may not)(?: [a-z]+)? be (?:[a-z]+ )?(?:excluded|ruled out)
        (?:difficult|hard|not possible) to (?:exclude|rule out)
        (?:is|are|remains?)(?: (?:also|a|the))* (?:possib[a-z]+|suspected|question(?:ed|able)|considered)
        (?:is|are|remains?)(?: (?:also|a|the))* (?:considerations?|equivocal|uncertain|raised|concern)
        (?:should|could|must|may|might) (?:also )?be (?:considered|present|suspected|excluded)
        in the differential|(?:is )?not entirely excluded
    """,
    "doubt before": r"""
        (?:can ?not|can't|could not|unable to|difficult to|hard to)(?: [a-z]+)?? (?:exclude|rule out|distinguish|assess)
        rule out|r/o|(?:may|might|could)|possib(?:le|ly|ility)|questionable|question(?: of)?|suspect(?:ed)?
        suspicion|suspicious for|concern(?:ing|s)? (?:for|of|about|regarding)|worrisome for
        suggest(?:s|ive|ing|ed|ion)?(?: of)?|perhaps|equivocal|differential|versus|vs|less likely|indeterminate
        potential(?:ly)?|equivocally|query|correlate for|raises?|worry for|uncertain
    """,
    "absent after": rf"""
        (?:{_VERB} )?(?:not|never|no longer) (?:[a-z]+ly )?(?:{_VERB} )?(?:[a-z]+ly )?(?:any longer )?{_SEEN}
        (?:{_VERB} )(?:now )?absent
        (?:{_VERB} )?(?:[a-z]+ )?(?:now )?(?:resolved|cleared|disappeared|ruled out|excluded)
        (?:is|are|seems?|appears?|thought|felt)(?: [a-z]+)? unlikely
    """,
    "removed after": rf"""
        {_VERB} (?:[a-z]+ )*?(?:removed|withdrawn|discontinued|taken out|pulled)|withdrawn|removed
    """,
    "removed before": r"(?:removal|withdrawal) of|removed|extubated",
    "absent before": r"""
        no|not|nothing|without|free of|free from|negative(?: [a-z]+)?? for|absence of|neither|nor|denies
        rather than|clear of|unlikely to (?:be|represent)|resolution of|resolved
        low (?:likelihood|probability|suspicion) (?:of|for)|lack of|lacks?|ruled out for|instead of|never
        clearing of(?= the (?:edema))
    """,
    "dropped": r"""
        (?:history|hx|h/o|eval[a-z]*|assess[a-z]*|indication|technique|exam[a-z]*) (?:of|for)(?! the (?:heart|lungs))
    """,
    "stop": r"""
        but|however|although|though|yet|except(?: for)?|apart from|aside from|other than|which|while|whereas
        despite|after|following|status post|s/p|in spite of|with|and (?:there|the|this|these|is|are|a|an)
        there (?:is|are|remains)|and (?:left|right|bilateral|stable|unchanged|mild|small|moderate)
    """,
    "verb": r"is|are|was|were|has|have|had|shows?|appears?|remains?|demonstrates?",
    "or": r"or|and/or",
}
_MARKS = {"absent after": r":\s*(?:none|no|negative|absent)\b", "stop": r"[;:]", "comma": r","}


def _one_of(words: dict[str, str], marks: dict[str, str]) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """One pattern with a group for each entry, and the entries' names by group number less one."""
    alternatives = ("|".join(map(str.strip, rows.strip().split("\n"))) for rows in words.values())
    groups = [rf"(\b(?:{rows})\b)" for rows in alternatives] + [f"({mark})" for mark in marks.values()]
    return re.compile("|".join(groups)), (*words, *marks)


_PHRASE, _PHRASE_NAMES = _one_of(_PHRASES, {})
_CUE, _CUE_KINDS = _one_of(_CUES, _MARKS)
_SENTENCE = re.compile(r"(?<!\bdr)[.!?]+(?=\s|$)|\.(?=[a-z]{2})|\n\s*\n|\s\d+[.)]\s")
_BLANKS = re.compile(r"\s+")
_LISTED = re.compile(r"[^,;]*(?:,[^,;]*)*?,?\s(?:or|and|versus|vs)\b")


def label(report: str) -> dict[str, int]:
    """The observations of a report: 1 present, 0 absent, -1 uncertain; what is not mentioned has no key.

    "No Finding" is 1 when nothing but devices is present or uncertain, and has no key otherwise or for a text without
    words. Keys are in the order of `OBSERVATIONS`.
    """
    found: dict[str, int] = {}
    for sentence in _SENTENCE.split(report.lower()):
        for name, value in _statements(_BLANKS.sub(" ", sentence).strip()):
            before = found.get(name, 0)
            found[name] = 1 if 1 in (before, value) else -1 if -1 in (before, value) else 0
    abnormal = any(value for name, value in found.items() if name != "Support Devices")
    if not abnormal and any(map(str.isalnum, report)):
        found["No Finding"] = 1
    return {name: found[name] for name in OBSERVATIONS if name in found}


@lru_cache(maxsize=1 << 16)  # report sentences repeat: "No pneumothorax." is written thousands of times
def _statements(sentence: str) -> tuple[tuple[str, int], ...]:
    """What one lower-case sentence states: (observation, value) in reading order."""
    mentions = _mentions(sentence)
    if not mentions:
        return ()
    cues = [_Event(cue.start(), _CUE_KINDS[(cue.lastindex or 1) - 1]) for cue in _CUE.finditer(sentence)]
    _apply_scopes(sentence, sorted(mentions + cues, key=lambda event: (event.start, event.kind == "mention")))
    return tuple((name, event.value) for event in mentions for name in event.names if event.value is not None)


@dataclass
class _Event:
    """A mention (with observation names and a value: 1, 0, -1, None = states nothing) or a cue, and where it starts."""

    start: int
    kind: str
    names: tuple[str, ...] = ()
    value: int | None = None


def _mentions(sentence: str) -> list[_Event]:
    found = []
    for match in _PHRASE.finditer(sentence):
        name = _PHRASE_NAMES[(match.lastindex or 1) - 1]
        names = ("Pneumothorax", "Pleural Effusion") if name == _BOTH_AIR_AND_FLUID else (name,)
        if name:
            found.append(_Event(match.start(), "mention", names, 1))
    if _HAS_SUBJECT.search(sentence):
        places = set()
        for name, value, pattern in _SUBJECTS:
            for match in pattern.finditer(sentence):
                if (name, match.start("at")) not in places:
                    places.add((name, match.start("at")))
                    found.append(_Event(match.start("at"), "mention", (name,), value))
    return found


def _apply_scopes(sentence: str, events: list[_Event]) -> None:
    """Set the mentions' values from the cues around them, in one walk that knows the open scope and its reach."""
    scope = ""  # "absent", "doubt", "removed" or "dropped": what the last cue says of the mentions that follow
    fresh = False  # nothing was mentioned since that cue
    clause: list[_Event] = []  # mentions that a cue after them still reaches
    near: list[_Event] = []  # of those, the ones since the last comma
    either = False  # "or" stands between the last mention and here
    for event in events:
        kind = event.kind
        if kind == "mention":
            _put_in_scope(event, scope)
            if either and near and not scope and {near[-1].value, event.value} == {1} and near[-1].names != event.names:
                near[-1].value = event.value = -1
            clause.append(event)
            near.append(event)
            fresh = either = False
        elif kind == "or":
            either = True
        elif kind == "stop":
            scope, clause, near = "", [], []
        elif kind == "verb":
            clause, near = [], []
        elif kind == "comma":
            near = []
            if scope == "doubt" and not _LISTED.match(sentence, event.start + 1):
                scope = ""
        elif kind in ("absent before", "removed before", "dropped"):
            scope, fresh = kind.partition(" ")[0], True
        elif kind == "doubt before":
            if near and sentence.startswith(("versus", "vs"), event.start):
                _change(near[-1:], 1, -1)
            if not (scope == "absent" and fresh):  # "no findings to suggest" stays a negation
                scope, fresh = "doubt", True
        elif kind == "doubt after":
            _change(near, 1, -1)
            scope, clause, near = "", [], []
        elif kind in ("absent after", "removed after"):
            for mention in clause:
                if mention.value and (kind == "absent after" or "Support Devices" in mention.names):
                    mention.value = 0
            scope, clause, near = "", [], []


def _put_in_scope(mention: _Event, scope: str) -> None:
    device = "Support Devices" in mention.names
    if scope == "dropped" and not device:
        mention.value = None
    elif scope == "removed":
        mention.value = 0 if device else mention.value
    elif scope == "absent":
        mention.value = 0 if mention.value else None  # "not normal" states nothing
    elif scope == "doubt" and mention.value == 1:
        mention.value = -1


def _change(mentions: list[_Event], old: int, new: int) -> None:
    for mention in mentions:
        if mention.value == old:
            mention.value = new
