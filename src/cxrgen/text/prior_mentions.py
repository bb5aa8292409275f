"""Does a report speak of an earlier examination, and what is left of it for a reader who has none?

A report of a follow-up says "unchanged", "again seen", "new since". A model that is shown one study learns these words
at their base rate and invents comparisons, so targets of studies without a prior can be rewritten: clauses that compare
are cut, "stable small effusion" becomes "small effusion", "is again seen" becomes "is seen", and a sentence that still
speaks of change is dropped. Rules lose some findings and leave some awkward sentences; they add none.
"""

from __future__ import annotations

import re
from functools import lru_cache

from cxrgen.text.sentences import sentences

_PRIOR = re.compile(
    r"""\b(?:
    compar(?:ed|ison|ing|ative)(?!\s*:?\s*(?:is\s+)?(?:none|not?\b|unavailable))
    | (?:prior|previous|preceding|earlier|old|outside)\s+(?:\w+\s+){0,2}?(?:exam(?:ination)?s?|stud(?:y|ies)|films?
      | radiographs?|x-?rays?|images?|imaging|ct|cts|chest|views?|comparisons?|reports?)
    | previously | interval | since\s+(?:the\s+)?(?:prior|previous|last|earlier|\d|___|xxxx)
    | from\s+(?:the\s+)?(?:prior|previous|earlier) | than\s+(?:on\s+)?(?:the\s+)?(?:prior|previous|before)
    | again\s+(?:seen|noted|demonstrated|identified|visuali[sz]ed|is|are) | (?:is|are)\s+again | re-?demonstrat\w+
    | unchanged | (?:un)?altered | no\s+(?:\w+\s+)?change | stable | stability | persist(?:s|ent|ently|ing|ence)
    | (?:has|have)\s+(?:\w+ly\s+)?(?:increased|decreased|improved|worsened|resolved|cleared|progressed|changed)
    | (?:increas|decreas|improv|worsen|resolv|enlarg|progress)ing | improvement | worsened | resolution | progression
    | new(?:ly)?\b(?!\s+york) | no\s+longer
    )\b""",
    re.VERBOSE,
)
_NO_PRIOR = re.compile(
    r"\b(?:no|without|unavailable)\s+(?:\w+\s+){0,2}?(?:prior|previous|earlier|comparisons?)\b[^.]*"
    r"|\b(?:prior|previous|comparison)\s+(?:\w+\s+){0,3}?(?:not|un)\s*available[^.]*"
)
_IN_NO_PRIOR = ("prior", "previous", "earlier", "comparison")  # one of them is in whatever it matches


@lru_cache(1 << 18)  # references are read again with every baseline
def speaks_of_prior(text: str) -> bool:
    """Whether a text says something that only an earlier examination can tell."""
    return any(map(_piece_speaks_of_prior, " ".join(text.lower().split()).split(".")))


@lru_cache(1 << 16)  # report sentences repeat
def _piece_speaks_of_prior(words: str) -> bool:
    """The same of a piece between two stops, beyond which no pattern looks."""
    if any(word in words for word in _IN_NO_PRIOR):
        words = _NO_PRIOR.sub(" ", words)
    return _PRIOR.search(words) is not None


def without_priors(text: str) -> str:
    """The text without what it says of earlier examinations; sentences that say nothing else are left out.

    `speaks_of_prior` is false for every sentence of the result. White space becomes single blanks.
    """
    kept = []
    for sentence in sentences(" ".join(text.split())):
        number, words = _NUMBER.match(sentence).group(), _NUMBER.sub("", sentence, count=1)  # type: ignore[union-attr]
        if speaks_of_prior(words):
            words = _rewritten(words)
            if speaks_of_prior(words) or _OF_CHANGE.search(words):
                continue
        kept += [number + words] if words else []
    return " ".join(kept)


_NUMBER = re.compile(r"(?:\d{1,2}[.)]\s+)?")
_ADVERBS = r"(?:(?:\w+ly|not|again|also|otherwise|quite)\s+)*"
_END = r"(?=[,;]|[.!?]?$)"
_IN_SIZE = r"(?:\s+in\s+\w+(?:\s+(?:and|or)\s+\w+)*)?"
_SEEN = r"(?:seen|noted|demonstrated|identified|visuali[sz]ed|present|appreciated|observed)"
_FORMER = r"(?:the\s+|a\s+)?(?:prior|previous|last|earlier|most\s+recent|before)\b"
_COMPARED = r"(?:as\s+|when\s+)?(?:compared|in\s+comparison|relative)\s+(?:to|with)\b"
_SAME = r"(?:stable|unchanged|unaltered)"
_ADJECTIVES = (
    rf"(?:stable|unchanged|persistent|new|newly|interval|previously\s+{_SEEN}"
    r"|increasing|decreasing|worsening|enlarging|improving|resolving)"
)
_AFTER_NO_ADJECTIVE = r"(?:in|since|from|to|and|or|but|with|at|on|for|york|appearance|position)\b"
# What is there in every chest: that it did not change says nothing of what it looks like.
_NORMAL = (
    r"(?:heart|cardiac|cardiomediastinal|mediastin|hil(?:a|ar|um)|silhouette|contours?|size|appearance|lungs?\b|exam"
    r"|stud(?:y|ies)|radiograph|chest|findings?|position|everything|pulmonary vascul|osseous|bon(?:e|es|y)|soft tissues"
    r"|thora|aort|there)"
)
_IS = r"(is|are|appears?|remains?|has\s+been|have\s+been)"
_GREW = r"(?:increased|decreased|worsened|progressed|enlarged|changed)"
_REWRITES = [
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (rf"^(?:{_COMPARED}|(?:since|from)\s+{_FORMER})[^,]*,\s*", ""),
        (rf"[,;]?\s*\(?{_COMPARED}\s[^,;]*?{_END}", ""),
        (rf"[,;]?\s*(?:since|from|than|as\s+on|on)\s+(?:on\s+)?{_FORMER}[^,;]*?{_END}", ""),
        (rf",\s*(?:which\s+(?:is|are)\s+)?{_ADVERBS}{_SAME}{_IN_SIZE}{_END}", ""),
        (rf"^(?:again|re-?demonstrated)\s+(?:{_SEEN}\s+)?(is|are)\b", r"there \1"),
        (rf"^(?:again\s+{_SEEN}|re-?demonstrat(?:ed|ion(?:\s+of)?))\s+", "there is "),
        (r"\bre-?demonstrat(?:ed|es|ing)\b", "seen"),
        (rf"\b(?:once\s+)?again\s+(?={_SEEN}|is|are)", ""),
        (r"\b(is|are)\s+(?:once\s+)?again\b", r"\1"),
        (rf"^((?!.*{_NORMAL}).*?)\s+{_IS}\s+{_ADVERBS}{_SAME}{_IN_SIZE}{_END}", r"\1 \2 present"),
        (rf"^((?!.*{_NORMAL}).*?)\s+(?:has|have)\s+{_ADVERBS}{_GREW}{_IN_SIZE}{_END}", r"\1 is present"),
        (rf"\b{_ADVERBS}{_ADJECTIVES}\s+(?!{_AFTER_NO_ADJECTIVE}|{_NORMAL})(?=[a-z])", ""),
        (r"\b(is|are|appears)\s+persistent\b", r"\1 present"),
    )
]
_OF_CHANGE = re.compile(
    r"\b(?:larger|smaller|bigger|remov(?:al|ed)|placement|development|(?:in|de)creased?|improved?|worse|changed?)\b",
    re.I,
)


def _rewritten(sentence: str) -> str:
    """The sentence by the rules in their order, tidied up; "" when nothing is left of it."""
    for pattern, replacement in _REWRITES:
        sentence = pattern.sub(replacement, sentence)
    sentence = re.sub(r"\b([Aa])n?\s+(?=[A-Za-z])", _article, " ".join(sentence.split()))
    sentence = re.sub(r"\s+(?=[,;.!?])", "", sentence).strip(" ,;")
    if len(re.findall("[A-Za-z]", sentence)) < 5:
        return ""
    return sentence[0].upper() + sentence[1:] + ("" if sentence[-1] in ".!?:" else ".")


def _article(match: re.Match[str]) -> str:
    following = match.string[match.end()]
    return f"{match.group(1)}{'n' if following.lower() in 'aeio' else ''} "
