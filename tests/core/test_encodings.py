"""Code pages: Western European text is read, any other stops with a way out, and is read when it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrgen.core.encodings import decoded, is_western, known_encoding
from cxrgen.core.errors import InputError
from cxrgen.core.tables import read_csv

WESTERN = {
    "German": "Herzgröße normal, „kein“ Erguss. ÜBER 5 µm ± 2 °C, 3×4 cm², Müller–Straße",
    "French": "Cœur de taille normale ; épanchement à gauche, naïf, créée, l’été",
    "Spanish": "Corazón de tamaño normal. ¿Derrame? Sí, año",
    "Portuguese": "Coração, não há lesões, às vezes",
    "Italian": "È normale, perché l’età è così",
    "Swedish": "Hjärtat är normalt, på båda sidor",
    "Norwegian": "Øvre lunge åpen, bæring",
    "Icelandic": "Hjartað er eðlilegt, þvag, sýking á lungum",
    "English": "The patient’s “heart” is normal – naïve café",
}
OTHERS = {
    "cp1251": "Сердце не увеличено. Лёгкие без очаговых теней.",
    "koi8-r": "Сердце не увеличено.",
    "cp866": "Сердце не увеличено.",
    "cp1250": "Płuca bez zmian, serce niepowiększone.",
    "iso8859-2": "Srdce nezvětšené, plíce čisté.",
    "cp1253": "Καρδιά φυσιολογική.",
    "cp1254": "Kalp normal boyutta, akciğer şişlik.",
    "cp1255": "הלב תקין",
    "cp1256": "القلب طبيعي",
    "gbk": "心影不大，双肺纹理清晰，未见胸腔积液。",
    "big5": "心臟大小正常",
    "shift_jis": "心拡大なし。胸水を認めない。",
    "euc_kr": "심장 크기 정상",
    "cp850": "Herzgröße normal, schön",
    "mac_roman": "Herzgröße normal, schön",
}


@pytest.mark.parametrize("text", WESTERN.values(), ids=WESTERN)
def test_western_text_is_read(text: str) -> None:
    assert is_western(text)
    said, remark = decoded(text.encode("cp1252"), "t.csv")
    assert said == text
    assert remark == "read as cp1252, not UTF-8; 1 lines hold letters that depend on it"


@pytest.mark.parametrize(("encoding", "text"), OTHERS.items(), ids=OTHERS)
def test_another_code_page_stops_and_can_be_named(tmp_path: Path, encoding: str, text: str) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(f'study_id,findings\n1,"{text}"\n'.encode(encoding))
    with pytest.raises(InputError, match="the code page is not known: name it with --encoding"):
        read_csv(table)
    assert read_csv(table, encoding).rows[0].cells["findings"] == text


def test_a_wrong_name_of_a_code_page_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("study_id\nö\n".encode("cp1252"))
    with pytest.raises(InputError, match="is not in utf-8"):
        read_csv(tmp_path / "t.csv", "utf-8")
    assert known_encoding("gbk")
    assert not any(map(known_encoding, ("klingon", "base64", "a\0b")))
