"""Open-I: the real collection, made-up files of its kind, and what must not be read."""

from __future__ import annotations

import gzip
import re
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.imaging.wheels import openi

from cxrgen.core.errors import InputError
from cxrgen.sources import SourceOptions, detect_source
from cxrgen.sources.openi import read, recognise
from cxrgen.text.cleaning import RECIPES, clean
from cxrgen.text.sections import split_sections

XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR{n}"/><publisher>Indiana University</publisher><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText>
<AbstractText Label="INDICATION"/>
<AbstractText Label="FINDINGS">The lungs are clear &amp; XXXX.</AbstractText>
<AbstractText Label="IMPRESSION">{impression}</AbstractText>
</Abstract></Article></MedlineCitation>{images}</eCitation>
"""
IMAGE = '<parentImage id="CXR{n}_IM-0001-{image}"><caption>PA and lateral</caption></parentImage>'


def xml(n: int, count: int = 2, impression: str = "Normal chest.") -> str:
    images = "".join(IMAGE.format(n=n, image=1000 * (image + 1) + 1) for image in range(count))
    return XML.format(n=n, impression=impression, images=images)


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    (tmp_path / "ecgen-radiology").mkdir()
    for n, images in ((1, 2), (2, 0), (10, 1)):
        (tmp_path / "ecgen-radiology" / f"{n}.xml").write_text(xml(n, images))
    return tmp_path


def test_xml_files_without_images(collection: Path) -> None:
    kind, reason = detect_source(collection)
    assert (kind, reason) == ("openi", "XML files of the Indiana University collection")
    found = read(collection, SourceOptions())
    assert [study.study_id for study in found.studies] == ["CXR1", "CXR2", "CXR10"]
    assert found.studies[0].sections == {
        "comparison": "None.",
        "findings": "The lungs are clear & XXXX.",
        "impression": "Normal chest.",
    }
    assert all(study.views == () and study.subject_id == "" for study in found.studies)
    assert any(note.startswith("no images found") for note in found.notes)


def test_images_are_found_beside_the_texts(collection: Path) -> None:
    images = collection / "NLMCXR_png"
    images.mkdir()
    Image.fromarray(np.zeros((70, 70), np.uint8)).save(images / "CXR1_IM-0001-1001.png")
    found = read(collection, SourceOptions())
    assert [Path(view.path).name for view in found.studies[0].views] == [
        "CXR1_IM-0001-1001.png",
        "CXR1_IM-0001-2001.png",
    ]
    assert all(Path(view.path).parent == images for study in found.studies for view in study.views)
    given = read(collection, SourceOptions(image_folder=collection / "elsewhere"))
    assert Path(given.studies[2].views[0].path).parent == collection / "elsewhere"


def test_packed_files_are_the_same(collection: Path) -> None:
    whole = read(collection, SourceOptions())
    with tarfile.open(collection / "NLMCXR_reports.tgz", "w:gz") as tar:
        tar.add(collection / "ecgen-radiology", "ecgen-radiology")
    for file in collection.glob("*/*.xml"):
        file.unlink()
    packed = read(collection, SourceOptions())
    assert read(collection / "NLMCXR_reports.tgz", SourceOptions()) == packed
    assert packed.files == (collection / "NLMCXR_reports.tgz",)
    assert replace(packed, files=()) == whole
    assert "packed" in recognise(collection)
    content = (collection / "NLMCXR_reports.tgz").read_bytes()
    (collection / "NLMCXR_reports.tgz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="download it again"):
        read(collection, SourceOptions())


def test_tables_have_the_views(tmp_path: Path) -> None:
    (tmp_path / "indiana_reports.csv").write_text(
        "uid,MeSH,Problems,image,indication,comparison,findings,impression\n"
        '1,normal,normal,Xray Chest PA and Lateral,Cough,None.,"Clear\nlungs.",Normal.\n2,x,x,Chest,,,,Effusion.\n'
    )
    (tmp_path / "indiana_projections.csv").write_text(
        "uid,filename,projection\n1,1_IM-0001-4001.dcm.png,Frontal\n1,1_IM-0001-3001.dcm.png,Lateral\n"
    )
    (tmp_path / "images_normalized").mkdir()
    Image.fromarray(np.zeros((70, 70), np.uint8)).save(tmp_path / "images_normalized" / "1_IM-0001-4001.dcm.png")
    assert detect_source(tmp_path) == ("openi", "a folder with indiana_reports.csv")
    found = read(tmp_path, SourceOptions())
    assert [view.raw_view for view in found.studies[0].views] == ["Frontal", "Lateral"]
    assert found.studies[0].sections["findings"] == "Clear\nlungs."
    assert found.studies[1].sections == {"impression": "Effusion."}
    assert "1 reports name no image" in found.notes


def test_files_that_must_not_be_read(collection: Path) -> None:
    folder = collection / "ecgen-radiology"
    (folder / "3.xml").write_text(xml(3)[:300])
    bomb = '<!DOCTYPE a [<!ENTITY b "' + "b" * 100 + '"><!ENTITY c "&b;&b;&b;">]>'
    (folder / "4.xml").write_text(xml(4, impression="&c;").replace("<eCitation>", bomb + "<eCitation>"))
    (folder / "5.xml").write_text(xml(5) + " " * (2 << 20))
    (folder / "6.xml").write_text(xml(6).replace("CXR6_IM-0001-1001", "../../etc/passwd"))
    (folder / "7.xml").write_text(xml(7).replace('<uId id="CXR7"/>', ""))
    found = read(collection, SourceOptions())
    assert [(reject.row, reject.code) for reject in found.rejects] == [
        ("3.xml", "bad-xml"),
        ("4.xml", "bad-xml"),
        ("5.xml", "text-too-large"),
        ("6.xml", "bad-path"),
        ("7.xml", "id-missing"),
    ]
    assert len(found.studies) == 3


def test_the_real_collection() -> None:
    found = openi()
    assert len(found.studies) == 3955
    assert found.rejects == []
    assert len({study.study_id for study in found.studies}) == 3955
    names = Counter(name for study in found.studies for name in study.sections)
    assert set(names) <= {"comparison", "indication", "findings", "impression"}
    with_text = [study for study in found.studies if study.sections.keys() & {"findings", "impression"}]
    assert len(with_text) == 3927
    for study in found.studies:
        findings, impression = study.sections.get("findings"), study.sections.get("impression")
        for recipe in RECIPES:
            text = clean(findings, impression, recipe)
            assert text is None or text.strip()


@pytest.mark.parametrize(
    ("header", "end"), [("{}: ", "\n\n"), ("{}: ", " "), ("{}\n", "\n\n")], ids=["lines", "one line", "no colon"]
)
def test_real_reports_printed_as_other_hospitals_do_come_back_section_by_section(header: str, end: str) -> None:
    changed = []
    for study in openi().studies:
        parts = (header.format(name.upper()) + text for name, text in study.sections.items())
        if split_sections(end.join(parts)) != study.sections:
            changed.append(study)
    assert len(changed) <= 14
    header_within = re.compile(r"(indication|comparison|history|findings|impression)\s*:", re.IGNORECASE)
    assert all(any(header_within.search(text) for text in study.sections.values()) for study in changed)


REPORT = "<eCitation><uId id='CXR{0}'/><a>Indiana University</a><AbstractText Label='FINDINGS'>Clear.</AbstractText>{1}"
ENTITIES = "<!DOCTYPE e [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
    f"<!ENTITY {chr(98 + n)} '{('&' + chr(97 + n) + ';') * 10}'>" for n in range(9)
)
DECLARED = {
    "entities": f"{ENTITIES}]>",
    "file": "<!DOCTYPE e [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
    "other-file": "<!DOCTYPE e SYSTEM 'http://127.0.0.1:1/x.dtd'>",
    "parameters": "<!DOCTYPE e [<!ENTITY % p '<!ENTITY x \"y\">'> %p;]>",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
@pytest.mark.parametrize("declared", DECLARED.values(), ids=DECLARED)
def test_declarations_are_refused_in_every_encoding(tmp_path: Path, declared: str, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?>{declared}' + REPORT.format(1, "</eCitation>")
    (tmp_path / "1.xml").write_bytes(text.encode(encoding))
    (tmp_path / "2.xml").write_text(REPORT.format(2, "</eCitation>"))
    found = read(tmp_path, SourceOptions())
    assert [(each.row, each.code) for each in found.rejects] == [("1.xml", "bad-xml")]
    assert [each.study_id for each in found.studies] == ["CXR2"]


@pytest.mark.parametrize("inner", ["<a>" * 300_000, "<a>" * 140_000 + "</a>" * 140_000, "<a b=''/>" * 100_000])
def test_deep_and_wide_files_end(tmp_path: Path, inner: str) -> None:
    (tmp_path / "1.xml").write_text(REPORT.format(1, inner + "</eCitation>")[: 1 << 20])
    (tmp_path / "2.xml").write_text(REPORT.format(2, "</eCitation>"))
    assert "CXR2" in [each.study_id for each in read(tmp_path, SourceOptions()).studies]


def test_a_bomb_before_the_reports(tmp_path: Path) -> None:
    before, after = tarfile.TarInfo("blanks"), tarfile.TarInfo("1.xml")
    before.size = 3 << 30
    zeros = gzip.compress(bytes(1 << 24), 9)
    parts = [gzip.compress(before.tobuf()), *[zeros] * 192, gzip.compress(after.tobuf() + bytes(2000))]
    (tmp_path / "NLMCXR_reports.tgz").write_bytes(b"".join(parts))
    with pytest.raises(InputError, match="more than 200 times its size"):
        read(tmp_path, SourceOptions())


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b\x08", gzip.compress(bytes(3 << 20)), b"PK\3\4", b"x" * 2000])
def test_what_is_no_archive_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "NLMCXR_reports.tgz").write_bytes(data)
    with pytest.raises(InputError, match=r"NLMCXR_reports\.tgz: "):
        read(tmp_path, SourceOptions())
