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
_MANY = "(?:multiple|several|numerous|small|tiny)"
_ROOM = (
    r"(?:left|right|bilateral|adjacent|partial|complete|upper|lower|middle|lobar|segmental|lung|lobe|lobes|the|of|an?"
    r"|both|entire|whole|most|much|majority|portions?|parts?|substantial|significant|large|small|near|nearly|basal)"
)
_SITED_LINE = (
    r"(?:central|venous|picc|subclavian|jugular|ij|arterial|dialysis|femoral|cvp|support|monitoring|indwelling)"
)
_ELSEWHERE = (
    r"(?:breast|thyroid|adrenal|renal|kidney|liver|hepatic|abdominal|pelvic|neck|skin|soft[ -]tissue|chest wall"
    r"|axillary)"
)
_AT = r"(?= (?:is |are |now )?(?:in|at|within|near|above|below|over[a-z]*|project[a-z]*|terminat[a-z]*|ends?|lies)\b)"
_VASCULAR = r"(?:(?:pulmonary|lung|central|vascular|venous) )*(?:engorgement|congestion|prominence)"
_MARKINGS = r"(?:(?:pulmonary|lung|bronchovascular|interstitial) )*(?:markings|interstitium)"
_IS_NORMAL = (
    r" (?:(?:is|are|was|were|appears?|remains?) (?:[a-z]+ )??)?"
    r"(?:within (?:the )?(?:normal limits|limits of normal)|unremarkable|normal(?! [a-z]))"
)
# Phrases that name an observation wherever they stand. The pattern named first wins where two begin at the same place.
PHRASES: dict[str, str] = {
    BOTH_AIR_AND_FLUID: r"hydro-?pneumothora(?:x|ces)|hemo-?pneumothora(?:x|ces)",
    "Pneumothorax": r"""
        pneumothora(?:x|ces)|ptx|pleural (?:air|gas)(?: collections?)?
        (?:air|gas)(?: collections?)? (?:in|within) the (?:[a-z]+ )?pleural space
    """,
    "": (  # look like an observation and are none
        rf"""
        peric[a-z]+ (?:effusions?|fluid|thickening)|(?:joint|knee|subdural) effusions?|mass effect|body mass
        (?:soft[ -]tissue|subcutaneous|chest wall|ankle|leg|peripheral|mediastinal) edema
        edema (?:of|in) the (?:soft tissues?|chest wall|ankles?|legs?|subcutaneous [a-z]+)
        (?:thoracic|pleural|chest|abdominal|peritoneal|oral|nasal|glenoid|marrow|body|cardiac) cavit(?:y|ies)
        (?:bon[ey]|osseous|bone mineral|mineral) densit(?:y|ies)|infection control|portable|port[a-z]{{3,}}
        (?:fissur[a-z]+|mid|kerley(?: [abc])?|junction|fat|skin|streaky|pleural) lines?|midline
        (?:{_VASCULAR}|{_MARKINGS})(?={_IS_NORMAL})
        (?:vertebr[a-z]+(?: body)?|disc) collapse|collapse of (?:the )?(?:[a-z0-9]+ )?vertebra[a-z]*
        (?:mass|nodule|tumor) (?:resection|excision|removal|biopsy)|history of (?:[a-z]+ )?(?:cancer|carcinoma)
    """
    ),
    "Pleural Other": rf"""
        {_PLEURAL} (?:thickening|scar(?:ring|s)?|plaques?|calcifications?|fibrosis|reaction)
        {_PLEURAL} (?:disease|nodularity|abnormality)
        fibro-?thorax|(?:thickening|scarring) of the pleura|calcified pleura(?:l [a-z]+)?
        (?:fissural|apical|biapical)(?: [a-z]+)? thickening
        thickening (?:of|in|along) the (?:[a-z]+ )?(?:fissures?|apex|apices)
        (?<=effusion versus )thickening|(?<=effusion vs )thickening|(?<=effusion or )thickening
        (?:bi)?apical (?:pleural )?(?:capping|cap)|pleural-?parenchymal scarring
    """,
    "Pleural Effusion": r"""
        (?:pleural |sub-?pulmonic )?effusions?|pleural fluid(?: collections?)?|hydrothora(?:x|ces)
        hemothora(?:x|ces)|pleural fusions?|pl(?:eural)? effs?
        fluid (?:in|within) the (?:[a-z]+ )?pleural spaces?
    """,
    "Consolidation": r"consolidat(?:ions?|ive|ed|ing)",
    "Pneumonia": r"(?:broncho)?pneumonias?|pneumonic|pneumonitis|pnas?|infections?|infectious(?: [a-z]+)?",
    "Atelectasis": rf"""
        atelect[a-z]*|collapse of (?:the )?(?:entire )?(?:left|right|upper|lower|middle|lung|lobe|lingula)[a-z]*
        (?:lobar|lobe|lung|pulmonary|complete|partial|passive) collapse
        collapsed (?:lung|lobe|left|right|upper|lower)|collapse(?= (?:of )?(?:{_ROOM} ){{0,6}}(?:lung|lobe))
        (?:lung|lobe) (?:is|has|has been|remains|appears) (?:[a-z]+ly )?collapsed
    """,
    "Edema": r"""
        (?:pulmonary |interstitial |alveolar |vascular )*(?:o?edema)|(?:congestive )?heart failure
        congestive failure|chf
        (?:pulmonary |vascular |venous |pulmonary vascular |pulmonary venous |hilar |perihilar |central )+congestion
        (?:fluid|volume) overload|cephali[sz]ation|vascular engorgement|engorged|vascular prominence
        engorgement of the (?:pulmonary )?vas[a-z]+|vascular redistribution|congestive changes?
        prominen(?:t|ce of)(?: the)? (?:central |pulmonary |lung )+vascul[a-z]+
        (?:pulmonary|central) vascul[a-z]+ (?:is|are|appears|remains) (?:(?!not )[a-z]+ )?(?:promin|engorg)[a-z]+
    """,
    "Lung Lesion": rf"""
        {_NODULAR} (?:[a-z]+ )?(?:opacit[a-z]+|opacification|densit[a-z]+|lesions?|areas?|foc[a-z]+|shadows?)
        (?:micro)?nodules?|cavit(?:y|ies|at(?:ions?|ing|ed))
        (?:cavitary|lung|pulmonary|parenchymal|hilar) lesions?|mass(?:es)?
        (?:adeno)?carcinomas?|neoplas[a-z]+|tumou?rs?|metasta(?:sis|ses|tic disease)|malignancy
        bronchogenic cancer|lung cancer
        {_MANY}(?: [a-z]+)? (?:round(?:ed)?|circular)(?= (?:[a-z]+ )?(?:opacities|densities))
        (?:fibro|reticulo)-?nodular(?= (?:changes?|infiltrates?|(?:pleural )?scarring|thickening|disease))
    """,
    "Lung Opacity": r"""
        opacit(?:y|ies)|opacifications?|opacified|infiltrat(?:es?|ions?|ive)|ggos?|asd(?! (?:occlu|clos|device|repair))
        air-?space (?:disease|process(?:es)?|changes?)|air space (?:disease|process(?:es)?|changes?)
        ground[ -]glass|densit(?:y|ies)|haziness|reticulations?
        (?:increased|prominent|coarse[a-z]*|thickened) (?:[a-z]+ ){0,2}markings
        interstitial (?:markings|thickening|prominence|abnormalit(?:y|ies)|lung disease|disease|changes?|process)
    """,
    "Fracture": r"fractures?|fractured|fx|fxs|broken ribs?",
    "Support Devices": rf"""
        catheters?|picc|{_SITED_LINE} (?:[a-z]+ )?lines?|lines? (?:and|or|/) tubes?|lines|tubes?|pacemakers?
        pacers?|pacing|ppm|defibrillators?|a?icds?|leads|electrodes?
        (?:pacer|pacemaker|pacing|icd|broken|fractured|ventricular|atrial|single) lead
        lead(?= (?:is|in|tips?|over[a-z]*|terminat[a-z]*|project[a-z]*|fracture)\b)
        port|ports|port-?a-?cath|mediport|drains?
        pigtail|stents?|clips?|wires?|sternotomy (?:wires?|sutures?|xxxx)
        (?:prosthetic|mechanical|artificial|bioprosthetic|replaced?) (?:[a-z]+ )?valves?
        valve (?:replacement|prosthesis|repair)|prosthes[ie]s|prosthetic|shunts?|occluders?|generators?|surgical xxxx
        hardware|arthroplasty|screws?|rods?|anchors?
        devices?|tracheostomy|swan[ -]?ganz|balloon pump|(?:ivc|caval) filter|cannula[a-z]*|coils|stimulators?
        hickman|infusaport|staples?|sutures?|(?:ex|in)tubated|implants?
        ett|ngt|ogt|cvc|cvl|iabp|ecmo|[lr]vad|do[b]{{1,2}}-?hof+|perma?-?cath|vas-?cath|port-?a-?caths?|impella
        asd (?:occlu[a-z]+|clos[a-z]+|device|repair)|(?:ij|subclavian|distal tip|tip){_AT}
    """,
    _OTHER: rf"""
        {_ELSEWHERE} (?:mass(?:es)?|nodules?|lesions?|carcinomas?|cancers?|tumou?rs?|neoplas[a-z]+|malignancy)
        breast (?:implants?|prosthes[ie]s)|granulomatous infections?|tuberculous infections?|tuberculosis infections?
        (?:old|prior|previous|remote|healed|past) (?:[a-z]+ )?infections?
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
        (?:bronchovascular|vascular) crowding|bronchi(?:al|tis)[a-z ]* thickening|spur(?:s|ring)?
        (?:convex|mild|slight|right(?:ward)?|left(?:ward)?|s-shaped|scoliotic)(?: [a-z]+){{0,2}} curvature
        endplate changes?|syndesmophyt[a-z]+|dish|osteodystrophy|fibrotic|arthritic|foreign bod(?:y|ies)
        (?:prominen(?:t|ce of the)|enlarge(?:d|ment of the)) (?:bilateral )?(?:main )?pulmonary arter[a-z]+
        hilar prominence|prominen(?:t|ce of the) (?:left |right )?hil[a-z]+|histoplasmosis
    """,
}
# Observations stated of a subject: "the heart ... is mildly enlarged". The named group `at` is the mention. Of two rows
# with a mention at the same place the first wins.
_HEART = (
    r"(?:heart(?: and [a-z]+(?: (?:contours?|silhouettes?|structures?))?)?|cardiac(?: and [a-z]+)?)"
    r"(?: (?:size|silhouettes?|shadow|contours?|diameter|border|sizes))*"
)
_MEDIASTINUM = r"(?:cardio-?)?mediastin(?:um|al)(?: (?:silhouettes?|contours?|structures?|width|shadow|borders?))*"
_BETWEEN = (
    r"(?:[,:]? (?!(?:no|but|lungs?|with|without|there|aorta|however|pulmonary)\b)[a-z0-9'/-]+){0,7}?(?:[,:]|(?: -))? "
)
_NORMAL = r"normal(?: limits)?|unremarkable|not enlarged|top[ -]normal|upper limits|within limits|normal-?sized"
_LARGE = r"enlarged|enlargement|increased(?! since)|widened|widening|globular|large(?! \w+ effus)"
# Observation: (a word without which no row can match, rows of value and pattern).
_SUBJECTS: dict[str, tuple[str, tuple[tuple[int, str], ...]]] = {
    "Cardiomegaly": (
        "heart|cardi(?:ac|om?egaly)",
        (
            (-1, rf"borderline(?: [a-z]+){{0,2}}? (?P<at>cardio?megaly|{_LARGE})\b"),
            (-1, rf"borderline(?: in)?(?: [a-z]+)?? (?P<at>{_HEART})\b(?! enlarg)"),
            (-1, rf"\b{_HEART}\b{_BETWEEN}(?P<at>borderline)\b(?! [a-z]*(?:larg|wid))"),
            (1, rf"\b{_HEART}\b{_BETWEEN}(?P<at>{_LARGE})\b"),
            (1, r"(?P<at>cardiomegaly|(?:heart|cardiac) enlargement|increase in (?:the )?(?:heart|cardiac) size)\b"),
            (1, rf"(?P<at>enlarge(?:d|ment of)|prominence of)(?: (?:the|appearing))?(?: [a-z]+)?? {_HEART}\b"),
            (0, rf"\b{_HEART}\b{_BETWEEN}(?P<at>{_NORMAL})\b"),
            (
                0,
                r"(?P<at>normal|unremarkable)(?: (?:in )?(?:size|sized|the|of|appearing))*(?: [a-z]+ and)? "
                rf"{_HEART}\b",
            ),
        ),
    ),
    "Enlarged Cardiomediastinum": (
        "mediastin",
        (
            (-1, rf"\b{_MEDIASTINUM}\b{_BETWEEN}borderline (?P<at>{_LARGE})\b"),
            (1, rf"\b{_MEDIASTINUM}\b{_BETWEEN}(?P<at>{_LARGE})\b"),
            (1, rf"(?P<at>widen(?:ed|ing of)|enlarge(?:d|ment of))(?: the)?(?: [a-z]+)?? {_MEDIASTINUM}\b"),
            (0, rf"\b{_MEDIASTINUM}\b{_BETWEEN}(?P<at>{_NORMAL})\b"),
            (0, rf"(?P<at>normal|unremarkable)(?: (?:heart|cardiac|size|and|the|of|appearing))* {_MEDIASTINUM}\b"),
        ),
    ),
    "Edema": ("engorgement|congestion|prominence", ((0, rf"\b(?P<at>{_VASCULAR}){_IS_NORMAL}"),)),
    "Lung Opacity": ("markings|interstitium", ((0, rf"\b(?P<at>{_MARKINGS}){_IS_NORMAL}"),)),
}
SUBJECTS = tuple(
    (name, re.compile(word), tuple((value, re.compile(pattern)) for value, pattern in rows))
    for name, (word, rows) in _SUBJECTS.items()
)

_SEEN = (
    r"(?:seen|identified|present|visuali[sz]ed|visible|noted|evident|appreciated|detected|demonstrated|apparent|observed|found"
    r"|suspected|appreciable|recogni[sz]ed|there|convincing|shown|in evidence)"
)
_VERB = r"(?:is|are|was|were|has|have|had|be|been)"
_STAYS = "(?:is|are|remains?|stays?|would be|should be)"
_IN_PART = r"(?:nearly|almost|partially|incompletely|not|never|mostly|largely|near|partly|partial|incomplete|yet to)"
_GONE = r"(?:resol[a-z]+|clear(?:ed|ing)?|disappear[a-z]*|gone(?: away)?|vanish[a-z]*)"
_ENDED = r"(?:resolved|cleared|disappeared|ruled out|excluded|vanished|gone(?: away)?)"
_CHANGE = (
    r"(?:changed?|changes|(?:in|de)creased?|progress(?:ed|ion)|improve(?:d|ment)|worse(?:n(?:ed|ing))?|different|altered"
    r"|difference|alteration|enlargement|reduction|growth|deterioration|larger|smaller)"
)
_DEGREE = (
    r"(?:significant(?:ly)?|substantial(?:ly)?|appreciabl[ey]|definite|interval|obvious(?:ly)?|real|major|clear|further"
    r"|marked(?:ly)?|notabl[ey]|material(?:ly)?|radiographic|evident|convincing|great|much|any|gross(?:ly)?|evidence of"
    r"|large|visible|apparent|relevant|considerabl[ey]|measurable|demonstrable|discernible|perceptible|detectable"
    r"|identifiable|meaningful|important|dramatic|recent|overall|short-term)"
)
# One pass finds every cue; where two could begin at the same place, the earlier kind and pattern wins.
CUES: dict[str, str] = {
    "neutral": rf"""
        no (?:{_DEGREE} ){{0,3}}{_CHANGE}(?: (?:in|of|from))?|not (?:{_VERB} )?(?:[a-z]+ly )?{_CHANGE}
        without (?:{_DEGREE} ){{0,3}}{_CHANGE}|no longer (?:as )?(?:large|big|prominent|extensive)|not only|not yet
        may be (?:helpful|obtained|useful|performed)
        (?:{_VERB} )?{_IN_PART}(?: (?:been|fully|yet|entirely|quite|complete(?:ly)?|interval|total))* {_GONE}(?: of)?
        (?:{_VERB} )?(?:not|never)(?: (?:been|yet))* (?:removed|withdrawn|pulled|absent|free of|negative)
        (?:no|without|lack of) (?:{_DEGREE} )*(?:resolution|clearing|disappearance) of
        fail(?:s|ed|ure) to (?:resolve|clear)
        (?:consistent|compatible|associated|along|together|in keeping) with|apart
    """,
    "doubt to end": r"""
        (?:primary )?(?:differential|ddx)(?: diagnos[ie]s| considerations?| possibilities)*(?: would| may| could)?
        (?:considerations|possibilities|possible (?:causes|etiologies)|etiologies) (?:would |may |could )?include[a-z]*
    """,
    "doubt after": rf"""
        (?:{_VERB} )?(?:not|never) (?:[a-z]+ )?(?:be )?(?:excluded|ruled out)
        (?:cannot|can not|can ?not|could not|may not)(?: [a-z]+)? be (?:[a-z]+ )?(?:excluded|ruled out)
        (?:would be |is |are )?(?:difficult|hard|not possible) to (?:[a-z]+ly )?(?:exclude|rule out)(?=$|[,;:)])
        {_STAYS}(?: (?:also|a|the|another))* (?:possib[a-z]+|suspected|question(?:ed|able)|considered)
        {_STAYS}(?: (?:also|a|the|another))* (?:considerations?|equivocal|uncertain|raised|concern)
        (?:should|could|must|may|might|needs? to) (?:also )?be (?:considered|present|suspected|excluded|ruled out)
        (?:(?:{_VERB}|{_STAYS}) )?(?:also )?(?:in|on|part of|among) the (?:list of )?(?:differential|possibilities)
        (?:is )?not entirely excluded
        (?:suspected|questioned|possible|possibly|queried|less likely)(?=[?]?$|[,;:)]| (?:in|at|on|over|given)\b)
    """,
    "implies": r"""
        (?:to|that would|which would) (?:suggest|indicate|represent|confirm)|suggesti(?:ve of|ng)
        (?:concerning|suspicious|worrisome) for|consistent with the diagnosis of
    """,
    "doubt before": r"""
        (?:does|do|did|would|will) not (?:exclude|rule out)
        (?:can ?not|can't|could not|unable to|difficult to|hard to)(?: [a-z]+)?? (?:exclude|rule out|distinguish|assess)
        rule out|r/o|(?:may|might|could)|possib(?:le|ly|ility)|questionable|question(?: of)?|suspect(?:ed)?
        suspicion|suspicious for|concern(?:ing|s)? (?:for|of|about|regarding)|worrisome for
        suggest(?:s|ive|ing|ed|ion)?(?: of)?|perhaps|equivocal|versus|vs|less likely|indeterminate
        potential(?:ly)?|equivocally|query|correlat(?:e|ion)(?: clinically)? (?:for|as to)|raises?|worry for|uncertain
        (?:unclear|unsure|not certain) (?:if|whether)
    """,
    "doubt next": "borderline",
    "absent after": rf"""
        (?:{_VERB} )?(?:not|never|no longer) (?:[a-z]+ly )?(?:{_VERB} )?(?:[a-z]+ly )?(?:any longer )?{_SEEN}
        (?:{_VERB} )(?:now )?absent
        {_VERB} (?:[a-z]+ )?(?:now )?{_ENDED}
        {_ENDED}(?=$|[,;.:)]| (?:since|on|in|compared|from|now|and|at|by|with|over|bilaterally|completely)\b)
        (?:is|are|seems?|appears?|thought|felt)(?: [a-z]+)? unlikely
    """,
    "resolved": _ENDED,
    "removed after": rf"""
        {_VERB} (?:(?!and |extubated )[a-z]+ )*?(?:removed|withdrawn|discontinued|taken out|pulled)|withdrawn|removed
    """,
    "removed before": r"(?:removal|withdrawal) of|removed|extubated",
    "absent before": r"""
        no|not|nothing|without|free of|free from|negative(?: [a-z]+)?? for|absence of|neither|nor|denies
        rather than|clear of|unlikely to (?:be|represent)|resolution of|disappearance of
        low (?:likelihood|probability|suspicion) (?:of|for)|lack of|lacks?|ruled out for|instead of|never
        clearing of(?!.*\b(?:not|incomplete|partial|persist[a-z]*|residual)\b)
    """,
    "dropped": r"""
        (?:history|hx|h/o|eval[a-z]*|assess[a-z]*|indication|technique|exam[a-z]*) (?:of|for)(?! the (?:heart|lungs))
        if (?:there is |there are )?(?:any |clinical(?:ly)? )?(?:concern|suspicion|suspect)[a-z]*(?: (?:for|of|exists))?
        more sensitive (?:in|for|to)(?: [a-z]+ing)?
        (?:indications?|(?:clinical )?(?:history|information)|reason for (?:the )?(?:exam[a-z]*|study))(?= ?:)
    """,
    "stop": r"""
        but|however|although|though|yet|except(?: for)?|apart from|aside from|other than|which|while|whereas
        despite|after|following|status post|s/p|in spite of|with|and (?:there|the|this|these|is|are|a|an)
        there (?:is|are|remains)|and (?:left|right|bilateral|stable|unchanged|mild|small|moderate)
    """,
    "verb": r"is|are|was|were|has|have|had|shows?|appears?|remains?|demonstrates?",
    "or": r"or|and/or",
}
_NONE = r"(?:none|nil|no|negative|absent)(?: (?:seen|identified|present|visible|noted|evident))?(?=\s*(?:[.,;)]|$))"
MARKS = {
    "absent after": rf"(?::|\s[-–—=]|\s\()\s*{_NONE}",
    "colon": r":|\s[-–—]+(?=\s)",
    "stop": r";|(?<=[cm]m)\.(?=\s)",
    "comma": r",",
    "doubt before": r"\?(?=\s?[a-z])",
    "doubt after": r"\?",
}
# Common words that begin no phrase and no cue.
BEGIN_NO_PHRASE = (
    "the|is|are|of|in|and|there|no|or|to|a|with|for|on|at|be|has|seen|normal|size|limits|focal|acute|silhouette|contours?"
    "|lungs|clear|disease|within|cardiopulmonary|stable|abnormalit(?:y|ies)|spine|changes|cardiomediastinal|findings"
    "|evidence|without|unremarkable|structures|lateral|aorta|identified|noted|process|base|intact|active|may|visualized"
    "|present|appearance|appears?|this|basilar|otherwise|unchanged|negative|grossly"
)
BEGIN_NO_CUE = (
    "the|of|a|heart|lungs?|pleural|pulmonary|focal|acute|normal|right|left|size|effusions?|pneumothorax|cardiac|chest"
    "|bony|silhouette|contours?|mediastinal|cardiomediastinal|consolidation|limits|spine|thoracic|mild|small|stable|disease"
    "|airspace|abnormalit(?:y|ies)|changes|degenerative|findings|evidence|upper|lower|unremarkable|opacit(?:y|ies)|lobe"
    "|structures|cardiomegaly|mediastinum|lateral|aorta|noted|identified|base|intact|osseous|unchanged|basilar|pneumonia"
)
# What follows a comma when a new statement begins there: its own article, size or side, or a clause with its own verb.
_OWN = (
    r"(?:and |with )?(?:(?:the|an?|there|\d+(?:\.\d+)? ?[cm]m)\b|(?:[a-z]+ly )?(?:left|right|bilateral|bibasilar"
    r"|biapical|small|tiny|trace|minimal|mild|moderate|severe|large|massive|slight|subtle|marked|extensive|stable|unchanged"
    r"|persistent|new|old|chronic|known|residual|worsen(?:ed|ing)|improv(?:ed|ing)|(?:in|de)creas(?:ed|ing)|enlarging|resolving"
    r"|patchy|hazy|streaky|linear|loculated|layering|scattered|multiple|several)\b)"
)
_CLAUSE = (
    r"(?!(?:no|or|nor)\b)(?:[a-z/-]+ ){1,6}?(?:is|are|remains?|appears?|has|have|shows?) "
    rf"(?!(?:not |also |[a-z]+ly )*{_SEEN})"
)
NEW_STATEMENT = re.compile(rf"\s*(?:{_OWN}|{_CLAUSE})")
# A list goes on to its last "or": "no edema, large effusion or pneumothorax".
LISTED = re.compile(r"[^,;]*(?:,[^,;]*)*?,?\s(?:or|and|and/or|versus|vs)\b")
LISTED_BY_OR = re.compile(
    r"(?:(?!\b(?:no|with|without|is|are|was|were|but|which|there|has|have|suggests?)\b)[^;:])*?\b(?:or|nor|versus|vs)\b"
)
# A device that broke is no fracture of a bone.
_DEVICE = (
    r"(?:catheter|line|tube|wire|lead|screw|rod|plate|hardware|clip|stent|port|device|electrode|suture|staple|filter|pin"
    r"|anchor|prosthesis|valve|pacemaker|coil|nail|instrumentation)s?"
)
BROKEN_DEVICE = re.compile(
    rf"\b{_DEVICE} (?:(?:is|are|has|have|been|appears?|now|again|to|be|was|were|tip|fragment)s? )*fractur(?:ed?|es)\b"
    rf"|\bfractured? (?:(?!(?:with|and|or|by|the|ribs?|clavicle|humerus|sternum)\b)[a-z]+ ){{0,3}}{_DEVICE}\b"
    r"|\bfractures? (?:of|through|in|within|involving) (?:(?:the|an?|one|two) )?"
    rf"(?:(?!(?:with|and|or|by)\b)[a-z]+ ){{0,3}}{_DEVICE}\b"
)
