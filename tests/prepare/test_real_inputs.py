"""Inputs as hospitals and published sets hold them, met in bug reports; each with the one right result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.imaging.dicoms import image, saved, values

from cxrgen.core.records import Study, read_studies
from cxrgen.prepare.write import write_set
from cxrgen.text.prompts import study_conversation

Prepare = Callable[..., tuple[int, str]]
Write = Callable[..., Path]
HEART = "Heart {} normal."


@pytest.fixture
def images(tmp_path: Path, write_image: Write) -> Path:
    """A folder with ten images, f0.png to f9.png."""
    for number in range(10):
        write_image(tmp_path / "in" / f"f{number}.png", number)
    return tmp_path / "in"


def reports(out: Path) -> list[str | None]:
    return [study.report for study in read_studies(out)]


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "t.csv"
    path.write_bytes(text.encode(encoding))
    return path


def lines(form: str, count: int = 6) -> str:
    return "".join(form.format(number) for number in range(count))


# --- table files ---


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\r\nstudy_id;image;view;findings\r\n" + lines("s{0};f{0}.png;PA;Heart {0} normal.\r\n"),
        "sep=|\nstudy_id|image|view|findings\n" + lines("s{0}|f{0}.png|PA|Heart {0} normal.\n"),
        '"sep=\t"\nstudy_id\timage\tview\tfindings\n' + lines("s{0}\tf{0}.png\tPA\tHeart {0} normal.\n"),
        "study_id|image|view|findings\n" + lines("s{0}|f{0}.png|PA|Heart {0} normal.\n"),
        "study_id,image,view,findings,,,\r\n" + lines("s{0},f{0}.png,PA,Heart {0} normal.,,,\r\n"),
        "study_id,image,view,findings\r\n" + lines("s{0},f{0}.png,PA,Heart {0} normal.,\r\n"),
        "study_id;image;view;findings;\r\n" + lines("s{0};f{0}.png;PA;Heart {0} normal.;\r\n"),
        ",study_id,image,view,findings\n" + lines("{0},s{0},f{0}.png,PA,Heart {0} normal.\n"),
    ],
    ids=["sep", "sep-bar", "sep-tab-quoted", "bar", "empty-columns", "longer-rows", "semicolons-at-ends", "index"],
)
def test_table_files(images: Path, tmp_path: Path, prepare: Prepare, text: str) -> None:
    code, said = prepare(table(images, text), "--out", tmp_path / "out")
    assert code == 0, said
    assert reports(tmp_path / "out") == [HEART.format(number) for number in range(6)]
    assert {study.views[0].raw_view for study in read_studies(tmp_path / "out")} == {"PA"}


def test_a_longer_row_with_something_in_it_stops(images: Path, tmp_path: Path, prepare: Prepare) -> None:
    text = "study_id,image,findings\n" + lines("s{0},f{0}.png,Heart {0} normal.,Doe\n")
    code, said = prepare(table(images, text), "--out", tmp_path / "out")
    assert (code, "t.csv:2: 4 fields, the header has 3" in said, "Doe" in said) == (1, True, False)


@pytest.mark.parametrize("encoding", ["gbk", "cp1251"])
def test_a_code_page_that_is_not_known_stops_and_can_be_named(
    images: Path, tmp_path: Path, prepare: Prepare, encoding: str
) -> None:
    text = "心影不大，双肺纹理清晰。" if encoding == "gbk" else "Сердце не увеличено."
    path = table(images, "study_id,image,findings\n" + lines(f"s{{0}},f{{0}}.png,{text}\n"), encoding)
    code, said = prepare(path, "--out", tmp_path / "out")
    assert (code, "name it with --encoding" in said) == (1, True)
    assert not (tmp_path / "out" / "studies.parquet").exists()
    assert prepare(path, "--out", tmp_path / "out", "--encoding", encoding)[0] == 0
    assert reports(tmp_path / "out")[0] == text
    assert prepare(path, "--out", tmp_path / "out", "--encoding", "klingon")[0] == 2


def test_what_excel_leaves_in_cells(images: Path, tmp_path: Path, prepare: Prepare) -> None:
    text = "study_id,image,findings\r\n" + lines(
        '"=""000{0}""",\'f{0}.png,"Heart {0} normal._x000D_\nLungs clear._x000D_"\r\n', 2
    )
    text += "'0002,f2.png,'Heart 2 of the patient's age.\r\n"
    assert prepare(table(images, text), "--out", tmp_path / "out")[0] == 0
    studies = read_studies(tmp_path / "out")
    assert [study.study_id for study in studies] == ["0000", "0001", "0002"]
    assert [study.report for study in studies] == [
        "Heart 0 normal. Lungs clear.", "Heart 1 normal. Lungs clear.", "Heart 2 of the patient's age."
    ]  # fmt: skip


# --- images of a study ---


@pytest.mark.parametrize(
    "form",
    [
        "['f{0}.png' 'f{1}.png']", "['f{0}.png'\n 'f{1}.png']", "['f{0}.png', 'f{1}.png']", '["f{0}.png", "f{1}.png"]',
        "[f{0}.png, f{1}.png]", "[f{0}.png f{1}.png]", "array(['f{0}.png', 'f{1}.png'], dtype=object)",
        "Index(['f{0}.png', 'f{1}.png'], dtype='object')", "('f{0}.png', 'f{1}.png')", "f{0}.png;f{1}.png",
        "0    f{0}.png\n1    f{1}.png\nName: image, dtype: object",
    ],
)  # fmt: skip
def test_lists_in_cells(images: Path, tmp_path: Path, prepare: Prepare, write_table: Write, form: str) -> None:
    rows = [(f"s{n}", form.format(n, n + 5), "['PA' 'LATERAL']", HEART.format(n)) for n in range(5)]
    path = write_table(images / "t.csv", ("study_id", "image", "view", "findings"), rows)
    code, said = prepare(path, "--out", tmp_path / "out")
    assert code == 0, said
    assert [[view.view for view in study.views] for study in read_studies(tmp_path / "out")] == [
        ["frontal", "lateral"]
    ] * 5


@pytest.mark.parametrize(
    ("listed", "on_disk", "remark"),
    [
        ("train/p{0}/view1.jpg", "PNG/train/p{0}/view1.png", "image names end in .png on disk"),
        ("f{0}", "PNG/f{0}.jpeg", "image names end in .jpeg on disk"),
        ("F{0}.PNG", "PNG/f{0}.png", "image names differ from those on disk in upper and lower case"),
        ("a/IMG{0}.jpg", "PNG/A/img{0}.PNG", "end in .png on disk; image names differ"),
        (
            "old/place/f{0}.jpg",
            "PNG/f{0}.png",
            "the first 2 folder(s) of image names are left away; image names end in",
        ),
    ],
)
def test_names_that_differ_from_the_files(
    tmp_path: Path, prepare: Prepare, write_table: Write, write_image: Write, listed: str, on_disk: str, remark: str
) -> None:
    for number in range(6):
        file = write_image(tmp_path / "made.png", number)
        target = tmp_path / on_disk.format(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    rows = [(f"s{n}", listed.format(n), HEART.format(n)) for n in range(6)]
    path = write_table(tmp_path / "t.csv", ("study_id", "image", "findings"), rows)
    code, said = prepare(path, "--image-folder", tmp_path / "PNG", "--out", tmp_path / "out")
    assert code == 0, said
    assert remark in said
    assert reports(tmp_path / "out") == [HEART.format(n) for n in range(6)]


def test_padchest_begins_with_a_column_without_a_name(tmp_path: Path, prepare: Prepare, write_image: Write) -> None:
    text = ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,Projection,Report\n"
    for number, view in enumerate(("PA", "L", "AP_horizontal", "COSTAL")):
        write_image(tmp_path / str(number % 2) / f"im{number}.png", number)
        text += (
            f"{number},im{number}.png,{number % 2},20150101,2{number},8{number},1950.0,{view},sin hallazg {number} .\n"
        )
    code, said = prepare(table(tmp_path, text), "--out", tmp_path / "out", "--max-rejects", "60%")
    assert code == 0, said
    assert [study.study_id for study in read_studies(tmp_path / "out")] == ["20", "22"]
    assert "no-frontal 2" in said


@pytest.mark.parametrize("column", ["study_id", "AccessionNumber", "examination"])
def test_a_dicom_folder_with_one_table_is_dicom(
    tmp_path: Path, prepare: Prepare, write_table: Write, column: str
) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    for number in range(4):
        tags = {"StudyInstanceUID": f"1.2.{number}", "AccessionNumber": f"A{number}", "PatientID": f"P{number}"}
        pixels = values(12)
        pixels[number] = 0
        saved(image(pixels, **tags), folder / f"s{number}.dcm")
    write_table(folder / "reports.csv", ("row", column, "findings"), [(n, f"A{n}", HEART.format(n)) for n in range(4)])
    code, said = prepare(folder, "--out", tmp_path / "out")
    assert code == 0, said
    assert "dicom (a folder with DICOM files)" in said
    studies = read_studies(tmp_path / "out")
    assert [(study.study_id, study.report, len(study.views)) for study in studies] == [
        (f"A{n}", HEART.format(n), 1) for n in range(4)
    ]


def test_texts_of_one_study_that_differ_between_its_images(
    tmp_path: Path, prepare: Prepare, write_image: Write
) -> None:
    text = "path_to_image,frontal_lateral,ap_pa,deid_patient_id,section_findings,section_impression,split\n"
    for number in range(6):
        for image_number, view, day in ((1, "Frontal,PA", 10), (2, "Lateral,", 17)):
            name = f"train/patient{number}/study1/view{image_number}.jpg"
            write_image(tmp_path / name, 10 * number + image_number)
            text += f"{name},{view},patient{number},Lungs clear.,1. 3/{day}/2009: NO DISEASE {number}.,train\n"
    code, said = prepare(table(tmp_path, text), "--out", tmp_path / "out")
    assert code == 0, said
    assert "6 studies have other texts at other images; that of the first image is taken" in said
    studies = read_studies(tmp_path / "out")
    assert [study.report for study in studies] == [f"Lungs clear. 1. 3/10/2009: NO DISEASE {n}." for n in range(6)]
    assert {len(study.views) for study in studies} == {2}


def test_one_image_that_is_not_there_costs_one_study(
    images: Path, tmp_path: Path, prepare: Prepare, write_table: Write
) -> None:
    rows = [(f"s{n}", f"f{n}.png", HEART.format(n)) for n in range(10)]
    (images / "f3.png").unlink()
    path = write_table(images / "t.csv", ("study_id", "image", "findings"), rows)
    code, said = prepare(path, "--out", tmp_path / "out", "--max-rejects", "10%")
    assert code == 0, said
    assert "left out: 1 studies (image-missing 1, no-image 1)" in said
    code, said = prepare(path, "--out", tmp_path / "out", "--max-rejects", "9%")
    assert (code, "1 of 10 studies were left out, 10.0% (limit 9.0%)" in said) == (3, True)


# --- marks in texts ---

TEXT = "FINDINGS:\nHeart & lungs {} normal.\nIMPRESSION:\nNo pneumonia."
MARKED = {
    "html": "<P><U>FINDINGS</U><br>Heart &amp; lungs {} normal.<br><U>IMPRESSION</U><br>No pneumonia.&nbsp;</P>",
    "html-bold": "<b>FINDINGS:</b><br/>Heart &amp; lungs {} normal.<BR><b>IMPRESSION:</b><div>No pneumonia.</div>",
    "html-escaped": "&lt;p&gt;FINDINGS:&lt;/p&gt;Heart &amp;amp; lungs {} normal.&lt;br&gt;IMPRESSION: No pneumonia.",
    "html-page": "<html><head><style>p {{x}}</style></head><body><p>FINDINGS:</p><p>Heart &#38; lungs {} normal.</p>"
    "<h3 class='x'>IMPRESSION</h3><span>No pneumonia.</span></body></html>",
    "hl7": r"FINDINGS:\.br\Heart \T\ lungs {} normal.\.br\IMPRESSION:\.sp\No pneumonia.\.br\ ".strip(),
    "hl7-hex": r"FINDINGS:\X0D0A\Heart \X26\ lungs {} normal.\X0D0A\\H\IMPRESSION:\N\\X0D0A\No pneumonia.",
    "rtf": r"{{\rtf1\ansi{{\fonttbl{{\f0 Arial;}}}}\f0 FINDINGS:\par Heart \'26 lungs {} normal.\par "
    r"\b IMPRESSION:\b0\line No pneumonia.\par}}",
    "written": r"FINDINGS:\nHeart & lungs {} normal.\n\nIMPRESSION:\nNo pneumonia.",
    "written-crlf": r"FINDINGS:\r\nHeart & lungs {} normal.\r\nIMPRESSION:\r\nNo pneumonia.\r\n",
    "excel": "FINDINGS:_x000D_\nHeart & lungs {} normal._x000D_\nIMPRESSION:_x000D_\nNo pneumonia.",
    "markdown": "### FINDINGS\nHeart & lungs {} normal.\n### IMPRESSION\n**No pneumonia.**",
    "line-separators": "FINDINGS:\u2028Heart & lungs {} normal.\vIMPRESSION:\u2028No pneumonia.",
}


@pytest.mark.parametrize("form", MARKED.values(), ids=MARKED)
def test_marks_of_other_programs(images: Path, tmp_path: Path, prepare: Prepare, write_table: Write, form: str) -> None:
    rows = [(f"s{n}", f"f{n}.png", form.format(n)) for n in range(6)]
    path = write_table(images / "t.csv", ("study_id", "image", "report"), rows)
    code, said = prepare(path, "--out", tmp_path / "out")
    assert code == 0, said
    assert reports(tmp_path / "out") == [f"Heart & lungs {n} normal. No pneumonia." for n in range(6)]
    flags = json.loads((tmp_path / "out" / "card.json").read_text())["flags"]
    assert [count for name, count in flags.items() if name.startswith("marks-")], "the card counts them"
    assert "texts held" in said


def test_a_text_without_marks_is_kept_to_the_letter(
    images: Path, tmp_path: Path, prepare: Prepare, write_table: Write
) -> None:
    text = "Nodule <5 mm, >3 mm & p<0.05; R&D ___ # right rib, C:\\new \\ 50% ** [see above]"
    path = write_table(images / "t.csv", ("study_id", "image", "findings"), [("1", "f1.png", text)])
    assert prepare(path, "--out", tmp_path / "out")[0] == 0
    assert reports(tmp_path / "out") == [text]


SUMMARY = """NARRATIVE:
EXAM: CHEST 1 VIEW

CLINICAL HISTORY: Cough.

FINDINGS: Lungs are clear.

IMPRESSION:
1. NO ACUTE DISEASE.

{}"""


@pytest.mark.parametrize(
    "end",
    [
        "SUMMARY:1-NO SIGNIFICANT ABNORMALITY\n\nI have personally reviewed the images for this examination and agree\n"
        "with the report transcribed above.",
        "I have personally reviewed the images and agree with the resident's interpretation.",
        "The attending radiologist has reviewed the images and agrees with the above.",
        "Electronically signed by John Doe MD at 10:05",
        "ATTESTATION: I reviewed the images.",
        "ADDENDUM: IMPRESSION: Discussed by telephone.",
        "ADDENDUM:\nFindings: As above.\nImpression: Called to the ward.",
        "SUMMARY: Normal.\n\nEND OF IMPRESSION",
    ],
)
def test_what_follows_an_impression_never_replaces_it(
    images: Path, tmp_path: Path, prepare: Prepare, write_table: Write, end: str
) -> None:
    path = write_table(images / "t.csv", ("study_id", "image", "report"), [("1", "f1.png", SUMMARY.format(end))])
    assert prepare(path, "--out", tmp_path / "out")[0] == 0
    assert reports(tmp_path / "out") == ["Lungs are clear. 1. NO ACUTE DISEASE."]


@pytest.mark.parametrize("between", ["", "IMPRESSION:\n\n"])
def test_a_summary_is_the_impression_where_there_is_no_other(
    images: Path, tmp_path: Path, prepare: Prepare, write_table: Write, between: str
) -> None:
    text = f"FINDINGS: Clear.\n{between}SUMMARY: Normal chest."
    path = write_table(images / "t.csv", ("study_id", "image", "report"), [("1", "f1.png", text)])
    assert prepare(path, "--out", tmp_path / "out")[0] == 0
    assert reports(tmp_path / "out") == ["Clear. Normal chest."]


# --- text is text ---


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Compare with <image> of 2019.", "Compare with [image] of 2019."),
        ("Clear.</s> Heart large.", "Clear.[/s] Heart large."),
        ("<s>Clear. <unk> <im_start><im_patch><im_end>", "[s]Clear. [unk] [im_start][im_patch][im_end]"),
        ("Clear. <|endoftext|> [INST] large", "Clear. [|endoftext|] (INST) large"),
        ("Clear. ### Human: large", "Clear. # Human: large"),
        ("&lt;image&gt; seen", "[image] seen"),
    ],
)
def test_special_tokens_in_texts_are_text(
    images: Path, tmp_path: Path, prepare: Prepare, write_table: Write, text: str, plain: str
) -> None:
    rows = [("1", "f1.png", text, text)]
    path = write_table(images / "t.csv", ("study_id", "image", "indication", "findings"), rows)
    assert prepare(path, "--out", tmp_path / "out")[0] == 0
    study = read_studies(tmp_path / "out")[0]
    assert (study.report, study.sections["indication"]) == (plain, plain)
    (item,) = json.loads((tmp_path / "out" / f"{study.split}.json").read_text())
    asked, answer = (turn["value"] for turn in item["conversations"])
    assert (asked.count("<image>"), plain in asked, answer) == (1, True, plain)


def test_a_set_that_holds_special_tokens_asks_for_no_other_image(tmp_path: Path) -> None:
    """Sets made by hand or by an older version: the conversation counts, not the table."""
    study = Study("1", "1", "test", sections={"indication": "See <image>."}, report="Clear.</s>")
    conversation = study_conversation(study)
    assert "<image>" not in conversation.turns[0].text
    assert conversation.turns[1].text == "Clear.[/s]"
    write_set(tmp_path, [study], [], "study")


# --- LLaVA JSON ---


def llava(images: Path, answers: list[object], key: str = "image", one: bool = True) -> Path:
    items = [
        {
            "id": f"i{n}", key: f"f{n}.png" if one else [f"f{n}.png"],
            "conversations": [{"from": "human", "value": "Describe.\n<image>"}, {"from": "gpt", "value": answer}],
        }
        for n, answer in enumerate(answers)
    ]  # fmt: skip
    path = images / "train.json"
    path.write_text(json.dumps(items), encoding="utf-8")
    return path


def test_empty_answers_are_left_out(images: Path, tmp_path: Path, prepare: Prepare) -> None:
    path = llava(images, ["", "  ", "\n", *(HEART.format(n) for n in range(3, 9))])
    code, said = prepare(path, "--out", tmp_path / "out", "--max-rejects", "50%")
    assert code == 0, said
    assert reports(tmp_path / "out") == [HEART.format(n) for n in range(3, 9)]
    assert "text-empty 3" in said


@pytest.mark.parametrize("one", [True, False])
def test_the_key_images(images: Path, tmp_path: Path, prepare: Prepare, one: bool) -> None:
    path = llava(images, [HEART.format(n) for n in range(6)], "images", one)
    assert prepare(path, "--out", tmp_path / "out")[0] == 0
    assert reports(tmp_path / "out") == [HEART.format(n) for n in range(6)]


def test_a_header_that_the_official_parser_misreads(
    tmp_path: Path, prepare: Prepare, write_table: Write, write_image: Write
) -> None:
    write_image(tmp_path / "in" / "files/p10/p10000001/s50000001/aaaa.jpg")
    (tmp_path / "in" / "files/p10/p10000001/s50000001.txt").write_text(
        "   FINAL REPORT\n NDICATION:  Cough and fever.\n \n FINDINGS:  The lungs are clear.\n"
    )
    columns = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
    row = ("aaaa", "10000001", "50000001", "PA", "21800101", "080000.0")
    write_table(tmp_path / "in" / "mimic-cxr-2.0.0-metadata.csv", columns, [row])
    columns = ("dicom_id", "study_id", "subject_id", "split")
    write_table(tmp_path / "in" / "mimic-cxr-2.0.0-split.csv", columns, [("aaaa", "50000001", "10000001", "train")])
    assert prepare(tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    (study,) = read_studies(tmp_path / "out")
    assert (study.report, study.sections["indication"]) == ("The lungs are clear.", "Cough and fever.")
    assert prepare(tmp_path / "in", "--out", tmp_path / "official", "--section-style", "mimic")[0] == 0
    assert reports(tmp_path / "official") == ["The lungs are clear. Cough and fever."]
