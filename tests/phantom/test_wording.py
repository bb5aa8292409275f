from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from cxrgen.metrics.lexical.ptb import tokens
from cxrgen.phantom import STYLES
from cxrgen.phantom.findings import (
    CHANGING,
    LOBES,
    NAMES,
    SHARES,
    Extent,
    Findings,
    draw_extent,
    draw_findings,
    draw_prior,
)
from cxrgen.phantom.parser import parse
from cxrgen.phantom.phrases import PRESENT, STRAY
from cxrgen.phantom.rng import make_rng
from cxrgen.phantom.wording import CAUSE_SHARES, TEMPLATES, Style, draw_style, word_report
from cxrgen.text.prior_mentions import speaks_of_prior, without_priors
from cxrgen.text.rule_labels import label
from cxrgen.text.sections import split_sections

LESIONS = ("opacity", "nodule", "atelectasis")
REMARKS = ("borderline", "exposure", "grain")


def tables(count: int) -> list[tuple[Findings, Extent]]:
    """Tables with and without an earlier study."""
    drawn = []
    for index in range(count):
        generator = make_rng(7, index)
        findings = draw_findings(generator)
        extent = draw_extent(findings, generator)
        if index % 2:
            findings, _, _ = draw_prior(findings, extent, generator)
        drawn.append((findings, extent))
    return drawn


def test_every_report_parses_back_to_its_findings() -> None:
    for index, (row, _) in enumerate(tables(2000)):
        for kind in STYLES:
            style, truth = draw_style(make_rng(8, index), kind), row
            if kind == "plain":
                truth = replace(truth, effusion_change="", opacity_change="", opacity_cause="")
            elif truth.opacity:
                truth = replace(truth, opacity_cause=style.indication_for)
            doubtful = LESIONS if index % 3 else ()
            remarks = REMARKS if index % 5 else ()
            report = word_report(truth, style, doubtful, remarks, prior=kind == "varied" and index % 2 == 1)
            assert parse(f"{report.findings} {report.impression}") == truth
            assert parse(report.file) == truth


def test_labels_do_not_hang_on_wrapped_lines() -> None:
    for index, (truth, _) in enumerate(tables(200)):
        sections = split_sections(word_report(truth, draw_style(make_rng(8, index)), LESIONS).file)
        for text in (sections.get("findings", ""), sections.get("impression", "")):
            assert label(text) == label(" ".join(text.split()))


def test_every_phrase_of_the_lexicon_is_used() -> None:
    styles = [draw_style(make_rng(2, index)) for index in range(400)]
    seen = " ".join(word_report(row, style).file for (row, _), style in zip(tables(400), styles))
    words = " ".join(seen.split())
    for bank in PRESENT.values():
        for phrase in bank:
            assert phrase.split("{")[0].strip() in words


@pytest.mark.parametrize(
    "text", ["", "...", "Pleural effusion", "no " * 500, "\x00\ufffd <image> 1. 2.", "RIGHT OPACITY.", "tube 3 cm 4 cm"]
)
def test_the_parser_takes_any_text(text: str) -> None:
    assert isinstance(parse(text), Findings)


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        ("a LARGE   left\npleural effusion is seen.", Findings(effusion="left", effusion_size="large")),
        ("No pleural effusion or pneumothorax.", Findings()),
        ("There is a pneumothorax.", Findings(pneumothorax="unknown", pneumothorax_size="unknown")),
        ("No nodule, but a left rib fracture.", Findings(fracture="left")),
        (
            "Small right effusion and large left pneumothorax.",
            Findings(effusion="right", effusion_size="small", pneumothorax="left", pneumothorax_size="large"),
        ),
        ("The left chest tube has been removed.", Findings()),
        ("Endotracheal tube ends 4 cm above the carina.", Findings(et_tube="4.0")),
        ("The endotracheal tube is in good position.", Findings(et_tube="unknown")),
        ("The heart is mildly enlarged.", Findings(cardiomegaly=True)),
        ("Left nodule. There is a nodule.", Findings(nodule="left")),
    ],
)
def test_what_a_model_may_write(text: str, findings: Findings) -> None:
    assert parse(text) == findings


def test_report_files_look_like_mimic() -> None:
    for index, (row, _) in enumerate(tables(200)):
        lines = word_report(row, draw_style(make_rng(3, index))).file.splitlines()
        assert lines[0].strip() == "FINAL REPORT"
        assert all(line.startswith(" ") and len(line) <= 79 for line in lines)
        assert any(line == " " for line in lines)


def test_sections_of_the_file_are_those_of_the_table() -> None:
    """So that a reader of both does not see a text twice; what has no known header is in the table alone."""
    for index, (row, _) in enumerate(tables(1500)):
        style = draw_style(make_rng(3, index))
        report = word_report(row, style)
        sections = split_sections(report.file)
        for name, text in (("findings", report.findings), ("impression", report.impression)):
            if name in sections:
                assert " ".join(sections[name].split()) == text
            else:
                assert not text or style.template == "paragraphs" or style.header == "OPINION"


def styles(count: int) -> list[Style]:
    return [draw_style(make_rng(11, index)) for index in range(count)]


def test_shares_of_templates_and_indications() -> None:
    drawn = styles(4000)
    templates, causes = Counter(style.template for style in drawn), Counter(style.indication_for for style in drawn)
    for name, share in TEMPLATES.items():
        assert templates[name] / len(drawn) == pytest.approx(share, abs=0.02)
    for name, share in CAUSE_SHARES.items():
        assert causes[name] / len(drawn) == pytest.approx(share, abs=0.025)


def test_shares_of_findings() -> None:
    generator = make_rng(12)
    rows = [draw_findings(generator) for _ in range(40_000)]
    there = np.array([[bool(getattr(row, name)) for name in NAMES] for row in rows])
    np.testing.assert_allclose(there.mean(axis=0), list(SHARES.values()), atol=0.01)
    correlation = np.corrcoef(there.T) - np.eye(len(NAMES))
    assert np.abs(correlation).max() < 0.025  # no finding tells of another
    assert all(
        Counter(row.opacity for row in rows)[lobe] / len(rows) == pytest.approx(0.075, abs=0.01) for lobe in LOBES
    )


def test_a_style_is_the_same_whatever_is_found() -> None:
    """Template, indication, header, asides and the order of sentences come from the style's random numbers alone."""
    normal = Findings()
    for index, (row, _) in enumerate(tables(100)):
        style = draw_style(make_rng(4, index))
        some, none = word_report(row, style), word_report(normal, style)
        assert some.indication == none.indication
        assert bool(some.findings) == bool(none.findings)
        assert bool(some.impression) == bool(none.impression)
        for aside in style.aside:
            assert (aside in some.findings) == (aside in none.findings)


def test_doubt_stands_where_a_lesion_is_faint() -> None:
    row = Findings(nodule="left", opacity="lingula")
    for index in range(50):
        style = draw_style(make_rng(5, index))
        faint = " ".join(word_report(row, style, LESIONS).file.split())
        clear = " ".join(word_report(row, style).file.split())
        labels = label(faint), label(clear)
        assert [each["Lung Lesion"] for each in labels] == [-1, 1]
        assert [each["Lung Opacity"] for each in labels] == [-1, 1]
        assert parse(faint) == parse(clear) == row


def test_changes_are_said_of_studies_with_an_earlier_one() -> None:
    for index, (row, _) in enumerate(tables(200)):
        changed = any(getattr(row, f"{name}_change") for name in CHANGING)
        assert not changed or index % 2
        assert all(not getattr(row, name) or getattr(row, f"{name}_change") for name in CHANGING) or index % 2 == 0


def test_a_stated_rate_of_references_to_no_earlier_study() -> None:
    texts = [word_report(Findings(), draw_style(make_rng(6, index))).file for index in range(3000)]
    stray = [any(text.split("___")[0] in " ".join(each.split()) for text in STRAY) for each in texts]
    assert np.mean(stray) == pytest.approx(0.05 * 0.8, abs=0.012)  # a fifth has no findings section to say it in


def test_follow_up_reports_lose_nothing_but_change_where_the_earlier_study_is_cut_out() -> None:
    """So that a training text can be cut to what its prompt shows (`--priors match`)."""
    for index, (row, _) in enumerate(tables(400)):
        report = word_report(row, draw_style(make_rng(8, index), "followup"))
        text = f"{report.findings} {report.impression}"
        assert speaks_of_prior(text) == bool(row.effusion_change or row.opacity_change)
        assert parse(without_priors(text)) == replace(row, effusion_change="", opacity_change="")


def test_plain_reports_are_short() -> None:
    lengths = []
    for row, _ in tables(300):
        report = word_report(replace(row, opacity_change="", effusion_change=""), draw_style(make_rng(1), "plain"))
        lengths.append(len(tokens(f"{report.findings} {report.impression}")))
    assert np.mean(lengths) < 50
