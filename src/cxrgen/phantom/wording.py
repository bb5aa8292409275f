"""Finding table to report text, shaped like a MIMIC-CXR report file, in one of three styles.

`varied` mixes templates, orders, synonyms, grouped negations, doubt, distractors and blanks, as real reports do.
`plain` is short: a few words a finding in a fixed order, what a small model can learn to spell in a minute. `followup`
is `plain` with what changed since the study before, always in the same words, and the cause that the indication speaks
for. How something is said is a `Style`, drawn before and without the table, so wording tells nothing of what is found.
Two things of the scene show in a varied text: doubt where a lesion stands out little from the grain, and remarks on the
images.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from cxrgen.phantom import phrases
from cxrgen.phantom.findings import DEVICES, NAMES, Findings
from cxrgen.phantom.rng import bernoulli, pick, shuffled

TEMPLATES = {"both": 0.60, "impression": 0.20, "findings": 0.12, "paragraphs": 0.05, "odd": 0.03}
CAUSE_SHARES = {"pneumonia": 0.25, "contusion": 0.25, "": 0.50}  # of the indications
STRAY_SHARE = 0.05  # of reports without an earlier study that speak of one all the same
_MENTION_SHARE = 0.75  # of absent findings that are denied
_GROUP_SHARE = 0.7
_NOTIFY_SHARE, _COMPARE_SHARE, _REMARK_SHARE = 0.1, 0.3, 0.8
_TOP = 4  # findings that an impression below a findings section sums up
_ACUTE = [name for name in NAMES if name not in (*DEVICES, "hyperinflation")]


@dataclass(frozen=True)
class Style:
    """How one report speaks, whatever it says."""

    kind: str  # one of STYLES
    template: str
    order: tuple[str, ...]  # of the findings
    voices: dict[str, float]  # 0 to 1 for every finding and occasion: which of its phrases
    denied: frozenset[str]  # findings mentioned although absent
    grouped: bool
    aside: tuple[str, ...]  # distractors
    notified: bool
    compared: bool
    remarked: bool
    stray: bool
    indication_for: str  # the cause it speaks for, or ""
    indication: str
    header: str


@dataclass(frozen=True)
class Report:
    """The text of a study. Where a report has one section, the other is empty."""

    findings: str
    impression: str
    indication: str
    file: str  # reports/{study}.txt


def draw_style(generator: np.random.Generator, kind: str = "varied") -> Style:
    template = _by_share(generator, TEMPLATES)
    order = shuffled(generator, [name for name in NAMES if name not in DEVICES])
    devices = shuffled(generator, DEVICES)
    occasions = (*NAMES, "group", "normal", "cause", "borderline", "exposure", "grain", "notified", "compared", "stray")
    cause = _by_share(generator, CAUSE_SHARES)
    return Style(
        kind=kind,
        template=template,
        order=tuple(devices + order if bernoulli(generator, 0.5) else order + devices),
        voices={name: generator.random() for name in occasions},
        denied=frozenset(name for name in NAMES if bernoulli(generator, _MENTION_SHARE)),
        grouped=bernoulli(generator, _GROUP_SHARE),
        aside=tuple(text for text in phrases.ALWAYS_TRUE if bernoulli(generator, 0.25)),
        notified=bernoulli(generator, _NOTIFY_SHARE),
        compared=bernoulli(generator, _COMPARE_SHARE),
        remarked=bernoulli(generator, _REMARK_SHARE),
        stray=bernoulli(generator, STRAY_SHARE),
        indication_for=cause,
        indication=pick(generator, phrases.INDICATIONS[cause]),
        header=pick(generator, tuple(phrases.ODD_HEADERS)),
    )


def _by_share(generator: np.random.Generator, shares: dict[str, float]) -> str:
    chance = generator.random()
    for name, share in shares.items():
        chance -= share
        if chance < 0:
            return name
    return name


def word_report(
    findings: Findings, style: Style, doubtful: Collection[str] = (), remarks: Collection[str] = (), prior: bool = False
) -> Report:
    """The report of a table. `doubtful` names findings that are hard to see, `remarks` what is true of the images:
    "borderline", "exposure", "grain"; `prior` says that there is an earlier study."""
    if style.kind != "varied":
        return _plain(findings, style, remarks)
    body = _sentences(findings, style, doubtful, remarks, prior)
    summed = _summary(findings, style, doubtful, all_of_it=style.template == "impression")
    if style.template == "both":
        text, impression = " ".join(body), " ".join(summed)
    elif style.template == "impression":
        text, impression = "", " ".join(summed)
    else:
        text, impression = " ".join([*body, *_cause(findings, style)]), ""
    if style.template == "odd" and phrases.ODD_HEADERS[style.header] == "impression":
        text, impression = "", text
    return Report(text, impression, style.indication, _file(style, prior, text, impression))


def _plain(findings: Findings, style: Style, remarks: Collection[str]) -> Report:
    """A few words a finding, always the same; devices only where there are any."""
    sentences = []
    for name in NAMES:
        change = getattr(findings, f"{name}_change", "")
        if change:
            sentences.append(_filled(phrases.CHANGED[name][change][0], name, findings))
        elif getattr(findings, name):
            sentences.append(_capital(_filled(phrases.SUMMARY[name], name, findings)))
        elif name == "cardiomegaly":
            sentences.append(phrases.BORDERLINE[0] if "borderline" in remarks else phrases.ABSENT[name][0])
        elif name not in DEVICES:
            sentences.append(f"No {phrases.NOUNS[name]}.")
    if not any(getattr(findings, name) for name in DEVICES):
        sentences.append(phrases.NO_DEVICES)
    if findings.opacity_cause:
        sentences.append(phrases.CAUSED[0].format(cause=findings.opacity_cause))
    acute = any(getattr(findings, name) for name in _ACUTE)
    text, impression = " ".join(sentences), phrases.AS_ABOVE if acute else phrases.NORMAL[0]
    sections = {"FINDINGS": text, "IMPRESSION": impression}
    if style.kind == "plain":
        return Report(text, impression, "", report_file(sections))
    return Report(text, impression, style.indication, report_file({"INDICATION": style.indication, **sections}))


def _sentences(
    findings: Findings, style: Style, doubtful: Collection[str], remarks: Collection[str], prior: bool
) -> list[str]:
    said, listed = [], []
    for name in style.order:
        change = getattr(findings, f"{name}_change", "")
        if change:
            said.append(_said(phrases.CHANGED[name][change], name, findings, style))
        elif getattr(findings, name):
            bank = phrases.DOUBTFUL[name] if name in doubtful else phrases.PRESENT[name]
            said.append(_said(bank, name, findings, style))
        elif name == "cardiomegaly" and "borderline" in remarks:
            said.append(_voice(phrases.BORDERLINE, "borderline", style))
        elif name in style.denied and name in phrases.ABSENT:
            if style.grouped and name in phrases.NOUNS:
                listed.append(phrases.NOUNS[name])
            else:
                said.append(_voice(phrases.ABSENT[name], name, style))
    if listed:
        said.append(_voice(phrases.GROUPED, "group", style).format(list=_listed(listed)))
    before = [_voice(phrases.COMPARED, "compared", style)] if prior and style.compared else []
    for remark, options in (("exposure", phrases.UNDEREXPOSED), ("grain", phrases.GRAINY)):
        if style.remarked and remark in remarks:
            before.append(_voice(options, remark, style))
    after = list(style.aside)
    if style.stray and not prior:
        after.append(_voice(phrases.STRAY, "stray", style))
    if style.notified:
        after.append(_voice(phrases.NOTIFIED, "notified", style))
    return [*before, *said, *after]


def _summary(findings: Findings, style: Style, doubtful: Collection[str], all_of_it: bool) -> list[str]:
    """The impression: what matters most first, numbered from three points on."""
    points = []
    for name in NAMES:
        change = getattr(findings, f"{name}_change", "")
        if not getattr(findings, name):
            if change and all_of_it:
                points.append(_said(phrases.CHANGED[name][change], name, findings, style))
            continue
        text = _filled(phrases.SUMMARY[name], name, findings)
        text = f"{change} {text}" if change else f"possible {text}" if name in doubtful else text
        points.append(_capital(text))
    if not all_of_it:
        points = points[:_TOP]
    points += _cause(findings, style)
    if not any(getattr(findings, name) for name in _ACUTE):
        points.append(_voice(phrases.NORMAL, "normal", style))
    return [f"{number}. {text}" for number, text in enumerate(points, 1)] if len(points) >= 3 else points


def _cause(findings: Findings, style: Style) -> list[str]:
    if not findings.opacity_cause:
        return []
    return [_voice(phrases.CAUSED, "cause", style).format(cause=findings.opacity_cause)]


def _said(bank: Sequence[str], name: str, findings: Findings, style: Style) -> str:
    return _filled(_voice(bank, name, style), name, findings)


def _voice(bank: Sequence[str], occasion: str, style: Style) -> str:
    return bank[int(len(bank) * style.voices[occasion])]


def _filled(phrase: str, name: str, findings: Findings) -> str:
    value = str(getattr(findings, name))
    return phrase.format(side=value, lobe=value, cm=value, size=getattr(findings, f"{name}_size", ""))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _listed(nouns: Sequence[str]) -> str:
    return nouns[0] if len(nouns) == 1 else f"{', '.join(nouns[:-1])} or {nouns[-1]}"


def _file(style: Style, prior: bool, text: str, impression: str) -> str:
    if style.template == "paragraphs":
        parts = text.split(". ")
        half = len(parts) // 2
        paragraphs = [". ".join(parts[:half]) + ".", ". ".join(parts[half:])] if half else [text]
        return report_file({"": "CHEST RADIOGRAPH"}, paragraphs)
    sections = {
        "EXAMINATION": "CHEST RADIOGRAPH",
        "INDICATION": style.indication,
        "TECHNIQUE": "Frontal and lateral views.",
        "COMPARISON": "Radiograph of ___." if prior else "None.",
    }
    if style.template == "odd":
        return report_file({**sections, style.header: text or impression})
    return report_file(
        sections | {name: part for name, part in zip(("FINDINGS", "IMPRESSION"), (text, impression)) if part}
    )


def report_file(sections: dict[str, str], paragraphs: Sequence[str] = ()) -> str:
    """A padded first line, every line starting with a space and at most 79 characters long, a space on blank lines."""
    parts = [" " * 33 + "FINAL REPORT"]
    for text in [*(f"{name}:  {text}" if name else text for name, text in sections.items()), *paragraphs]:
        parts += [" ", *(f" {line}" for line in textwrap.wrap(text, 78, break_long_words=False))]
    return "\n".join(parts) + "\n"
