"""The strict readers: any bytes give rows or one InputError that names the file; what is written is read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrgen.core.errors import InputError
from cxrgen.core.files import write_csv
from cxrgen.core.tables import find_column, read_csv, read_json
from cxrgen.sources.image_paths import inside, locator

SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=12)


def refusal(call: Callable[[], object]) -> str | None:
    """What an InputError says, None when there is none; any other error is the test's."""
    try:
        call()
    except InputError as error:
        return str(error)
    return None


@SOME
@given(data=st.binary(max_size=400) | st.text(',;"\n\r\tab\0\ufeff', max_size=60).map(str.encode))
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.json"])
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    said = refusal(lambda: (read_json if name.endswith("json") else read_csv)(path))
    assert said is None or (path.name in said and "\n" not in said)


@SOME
@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=6))
def test_every_cell_comes_back_verbatim(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / "t.csv"
    write_csv(path, ("id", "text"), rows)
    read = [tuple(row.cells.values()) for row in read_csv(path).rows]
    assert read == [row for row in rows if any(cell.strip() for cell in row)]


@SOME
@given(
    value=st.recursive(st.none() | st.integers() | CELLS, lambda inner: st.lists(inner) | st.dictionaries(CELLS, inner))
)
def test_json_comes_back(tmp_path: Path, value: object) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    assert read_json(path) == value


@SOME
@given(
    name=st.text(max_size=30) | st.lists(st.sampled_from(["..", ".", "/", "a", "\\", "C:", "\0", "link"])).map("/".join)
)
def test_no_name_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir(exist_ok=True)
    (tmp_path / "out.png").touch()
    if not (folder / "link").is_symlink():
        (folder / "link").symlink_to(tmp_path)
    for find in (lambda each: inside(folder, each), locator([name], [folder])[0]):
        found: list[Path] = []
        said = refusal(lambda find=find, found=found: found.append(find(name)))
        if said is None:
            assert found[0] == folder or folder in found[0].parents
        else:
            assert said.startswith("bad-path: ")


@pytest.mark.parametrize(
    "row", ["0001,The heart is enlarged.", "images/0001-0001.png,PA", "Doe^Jane,No effusion", "1954-03-02,x", "a" * 60]
)
def test_a_missing_header_row_is_guessed_and_none_of_it_shown(tmp_path: Path, row: str) -> None:
    (tmp_path / "table.csv").write_text(f"{row}\n{row}x\n", encoding="utf-8")
    with pytest.raises(InputError, match="is the header row missing") as caught:
        find_column(read_csv(tmp_path / "table.csv"), "report")
    assert not any(cell in str(caught.value) for cell in row.split(",") if len(cell) > 1)
