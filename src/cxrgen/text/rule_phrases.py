"""The words of the rule labels: phrases that name an observation, statements about a subject, cues of denial and doubt.

This is the part to read and argue with; `rule_labels` holds the steps. The lists are this project's own, grown on
made-up sentences and on one half of a public collection, and each row is a regular expression in lower case.
"""

from __future__ import annotations

import re

BOTH_AIR_AND_FLUID = "Pneumothorax Pleural Effusion"
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
PHRASES: dict[str, str] = {
    BOTH_AIR_AND_FLUID: r"hydro-?pneumothora(?:x|ces)|hemo-?pneumothora(?:x|ces)",
    "Pneumothorax": r"pneumothora(?:x|ces)|ptx",
    "": (  # look like an observation and are none
        r"""
        peric[a-z]+ (?:effusions?|fluid|thickening)|(?:joint|knee|subdural) effusions?|mass effect|body mass
        (?:soft[ -]tissue|subcutaneous|chest wall|ankle|leg|peripheral|mediastinal) edema
        (?:bon[ey]|osseous|bone mineral|mineral) densit(?:y|ies)|infection control|portable|port[a-z]{3,}
        (?:fissur[a-z]+|mid|kerley(?: [abc])?|junction|fat|skin|streaky|pleural) lines?|midline
        engorgement (?:appears? |is |are )?within (?:the )?(?:limits of normal|normal limits)
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
        (?:fluid|volume) overload|cephali[sz]ation|vascular engorgement|engorged|vascular prominence
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
        pigtail|stents?|clips?|wires?|sternotomy (?:wires?|sutures?|xxxx)
        (?:prosthetic|mechanical|artificial|bioprosthetic|replaced?) (?:[a-z]+ )?valves?
        valve (?:replacement|prosthesis|repair)|prosthes[ie]s|prosthetic|shunts?|occluders?|generators?|surgical xxxx
        hardware|arthroplasty|screws?|rods?|anchors?
        devices?|tracheostomy|swan[ -]?ganz|balloon pump|(?:ivc|caval) filter|cannula[a-z]*|coils|stimulators?
        hickman|infusaport|staples?|sutures?|(?:ex|in)tubated|implants?
    """,
    _OTHER: r"""
        emphysema(?:tous)?|copd|chronic obstructive [a-z]+ disease|hyper-?(?:inflat|expan|aerat|lucen)[a-z]+
        fibrosis|bronchiectasis|granulomas?|granulomatous|hernia|scar(?:s|ring)?|scoliosis|adenopathy
        lymphadenopathy|tuberculosis|sarcoid[a-z]*|pneumomediastinum|pneumoperitoneum|aneurysm|pneumonectomy
        lobectomy|hilar enlargement|enlarged hil[a-z]+|eventration|degenerative|spondyl[a-z]+|osteophyt[a-z]+
        (?:osteo)?arthrit[a-z]+|osteopeni[a-z]+|osteoporo[a-z]+|kyphosis|dextro[a-z]+|levo[a-z]+|deformit(?:y|ies)
        atheroscler[a-z]+|arterioscler[a-z]+|calcifi[a-z]+|tortuo[a-z]+|ectasia|ectatic|unfold[a-z]+|lytic|sclerotic
        hypo-?(?:inflat|aerat|expan|ventil)[a-z]+|(?:low|decreased|diminished|small|shallow) (?:lung )?volumes?
        low inspiratory volumes?|volume loss|lucenc(?:y|ies)|cysts?|bullae?|blebs?|bullous|blunt(?:ing|ed)
        (?:elevat|flatten)[a-z]+(?: (?:of )?(?:the )?[a-z]+)? (?:hemi-?)?diaphragms?
        (?:hemi-?)?diaphragms? (?:is|are|remains?) (?:[a-z]+ )?(?:elevat|flatten)[a-z]+
        (?:bronchovascular|vascular) crowding|bronchi(?:al|tis)[a-z ]* thickening
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
SUBJECTS = tuple(
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
HAS_SUBJECT = re.compile(r"heart|cardi|mediastin")

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
CUES: dict[str, str] = {
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
    "implies": r"""
        (?:to|that would|which would) (?:suggest|indicate|represent|confirm)|suggesti(?:ve of|ng)
        (?:concerning|suspicious|worrisome) for|consistent with the diagnosis of
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
MARKS = {"absent after": r":\s*(?:none|no|negative|absent)\b", "stop": r"[;:]", "comma": r","}
