"""studies.parquet: what is written is read, older sets are read, others are refused with the way out."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cxrgen.core.errors import InputError
from cxrgen.core.records import Box, Study, View, read_studies, study_schema, write_studies

STUDY = Study(
    "0001", "P1", "train", "20200101", (View("a.png", "frontal", "PA", 80, 96, "0f"),), {"findings": "Synthetic."},
    "Synthetic.", None, {"Edema": -1}, ("cut",), "table", "F", 58,
    (Box(1, 0.25, 0.5, 0.75, 1.0),),
)  # fmt: skip


def as_schema(path: Path, version: str, without: list[str]) -> None:
    table = pq.read_table(path).drop_columns(without)
    pq.write_table(table.replace_schema_metadata({"cxrgen_schema": version}), path)


def test_a_study_comes_back_as_it_was(tmp_path: Path) -> None:
    write_studies(tmp_path / "studies.parquet", [STUDY, Study("2", "P2", "test")])
    assert read_studies(tmp_path) == [STUDY, Study("2", "P2", "test")]
    assert read_studies(tmp_path, "test") == [Study("2", "P2", "test")]


def test_a_set_of_the_first_schema_is_read_without_what_it_did_not_know(tmp_path: Path) -> None:
    write_studies(tmp_path / "studies.parquet", [STUDY])
    as_schema(tmp_path / "studies.parquet", "1", ["sex", "age", "boxes"])
    assert read_studies(tmp_path) == [Study(**{**vars(STUDY), "sex": "", "age": None, "boxes": ()})]


def test_a_set_of_the_second_schema_has_no_boxes(tmp_path: Path) -> None:
    write_studies(tmp_path / "studies.parquet", [STUDY])
    as_schema(tmp_path / "studies.parquet", "2", ["boxes"])
    assert read_studies(tmp_path) == [Study(**{**vars(STUDY), "boxes": ()})]
    as_schema(tmp_path / "studies.parquet", "2", ["sex"])
    with pytest.raises(InputError, match="the column sex is missing"):
        read_studies(tmp_path)


def test_views_of_the_third_schema_are_all_the_sources(tmp_path: Path) -> None:
    file = tmp_path / "studies.parquet"
    write_studies(file, [STUDY])
    rows = pq.read_table(file).to_pylist()
    del rows[0]["views"][0]["by_picture"]
    schema = study_schema().remove(4).insert(4, pa.field("views", pa.infer_type([rows[0]["views"]])))
    pq.write_table(pa.Table.from_pylist(rows, schema.with_metadata({"cxrgen_schema": "3"})), file)
    assert read_studies(tmp_path) == [STUDY]


@pytest.mark.parametrize("version", ["0", "5"])
def test_a_set_of_an_unknown_schema_is_refused(tmp_path: Path, version: str) -> None:
    write_studies(tmp_path / "studies.parquet", [STUDY])
    as_schema(tmp_path / "studies.parquet", version, [])
    with pytest.raises(InputError, match=f"schema version {version}, known are 1, 2, 3 and 4; prepare the set again"):
        read_studies(tmp_path)


def test_the_schema_is_that_of_the_dataclasses() -> None:
    """Other programs read these columns: a change needs a new SCHEMA_VERSION."""
    assert [f"{field.name} {field.type}".replace("<item:", "<element:") for field in study_schema()] == [
        "study_id string", "subject_id string", "split string", "order_key string",
        "views list<element: struct<path: string, view: string, raw_view: string, width: int32, height: int32, "
        "sha256: string, by_picture: float>>",
        "sections map<string, string>", "report string", "prior_study_id string", "labels map<string, int8>",
        "flags list<element: string>", "source string", "sex string", "age int16",
        "boxes list<element: struct<sentence: int32, x_min: float, y_min: float, x_max: float, y_max: float>>",
    ]  # fmt: skip
