"""The rule labels against people: how well they agree with the manual codes of Open-I reports, and how fast they are.

Each report of the Open-I collection carries codes that were given by hand (MeSH headings with qualifiers). `CODES` says
which codes mean which observation; a label counts as positive when it is present or uncertain. The reports are a table,
or the collection as it is published (NLMCXR_reports.tgz): each coded text once, less those of the tables that --without
names. The rules were improved on the even rows only, so the odd rows are the honest half. `ratio` is reports a second
of one core over 5,000, on texts not seen before in the run; `limit_fraction` is the time of one plain search for a word
over the time of the labels.

    python benchmarks/rule_labels.py [--quick] [--reports reports.csv]
    python benchmarks/rule_labels.py --reports NLMCXR_reports.tgz --without reports.csv
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from cxrgen.core.progress import say
from cxrgen.core.tables import read_csv
from cxrgen.text import rule_labels

ENOUGH = 20  # positive reports that a finding needs to count in the average
PER_SECOND = 5_000
CODES = {  # observation: codes, as patterns that must match from a code's start
    "Cardiomegaly": "Cardiomegaly|Cardiac Shadow/.*enlarged",
    "Lung Opacity": r"Opacity\b|Airspace Disease|Infiltrate|Consolidation|Density/lung|.*/interstitial(?!/fibrosis)",
    "Lung Lesion": r"Nodule|Mass\b|Cavitation|(?:Opacity|Density)/.*\bround",
    "Edema": "Pulmonary Edema|Pulmonary Congestion|Heart Failure",
    "Consolidation": "Consolidation",
    "Pneumonia": "Pneumonia",
    "Atelectasis": "Pulmonary Atelectasis",
    "Pneumothorax": "Pneumothorax|Hydropneumothorax",
    "Pleural Effusion": "Pleural Effusion",
    "Pleural Other": "Thickening/pleura",
    "Fracture": "Fractures, Bone",
    "Support Devices": (
        "Surgical Instruments|Catheters, Indwelling|(?:Implanted )?Medical Device|Tube, Inserted|Stents|Sutures"
    ),
    "No Finding": "normal",
}
UNCODED = ("", "No Indexing")
Row = dict[str, str]


def coded(row: Row) -> set[str]:
    """The observations that a report's manual codes mean."""
    codes = [code.strip() for code in row["mesh"].split(";")]
    return {name for name, pattern in CODES.items() if any(re.match(pattern, code) for code in codes)}


def agreement(rows: Sequence[Row]) -> dict[str, tuple[int, int, int]]:
    """Observation to reports coded so, reports labelled so, and both."""
    pairs = [(coded(row), rule_labels.label(text(row))) for row in rows]
    both = {}
    for name in CODES:
        wanted = [name in codes for codes, _ in pairs]
        said = [labels.get(name, 0) != 0 for _, labels in pairs]
        both[name] = (sum(wanted), sum(said), sum(a and b for a, b in zip(wanted, said)))
    return both


def f1(counts: tuple[int, int, int]) -> float:
    wanted, said, both = counts
    return 2 * both / max(1, wanted + said)


def macro_f1(found: dict[str, tuple[int, int, int]], names: Sequence[str]) -> float:
    return sum(f1(found[name]) for name in names) / len(names)


def text(row: Row) -> str:
    return f"{row['findings']}\n\n{row['impression']}"


def read_reports(path: Path, without: Sequence[Path] = ()) -> list[Row]:
    """The coded reports, in the order of the file; of an archive each text once, and none that stands in `without`."""
    if path.suffix != ".tgz":
        return [row.cells for row in read_csv(path).rows if row.cells["mesh"] not in UNCODED]
    known = {letters(row.cells) for table in without for row in read_csv(table).rows}
    kept = []
    for row in packed_reports(path):
        if row["mesh"] not in UNCODED and letters(row) and letters(row) not in known:
            known.add(letters(row))
            kept.append(row)
    return kept


def packed_reports(path: Path) -> list[Row]:
    """The collection's XML files, in the order of their numbers."""
    rows = {}
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(".xml") else None
            if content is not None:
                root = ElementTree.fromstring(content.read())
                texts = {each.get("Label"): "".join(each.itertext()).strip() for each in root.iter("AbstractText")}
                codes = ";".join("".join(each.itertext()).strip() for each in root.iter("major"))
                found, concluded = texts.get("FINDINGS", ""), texts.get("IMPRESSION", "")
                rows[int(Path(member.name).stem)] = {"findings": found, "impression": concluded, "mesh": codes}
    return [rows[number] for number in sorted(rows)]


def letters(row: Row) -> str:
    return re.sub("[^a-z]", "", text(row).lower())


def seconds(rows: Sequence[Row], rounds: int) -> tuple[float, float]:
    """Best times, of one core, of labelling all texts anew, and of one plain search in each."""
    texts, word = [text(row) for row in rows], re.compile("pneumothorax")
    best = [float("inf"), float("inf")]
    works: tuple[Callable[[str], object], ...] = (rule_labels.label, word.search)
    for _ in range(rounds):
        rule_labels.read_sentence.cache_clear()
        for place, work in enumerate(works):
            start = time.process_time()
            for report in texts:
                work(report)
            best[place] = min(best[place], time.process_time() - start)
    return best[0], best[1]


def main() -> None:
    shared = Path(os.environ.get("CXRGEN_SHARED", Path(__file__).parents[2] / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of timing instead of five")
    parser.add_argument("--reports", type=Path, default=shared / "data" / "openi_reports" / "reports.csv")
    parser.add_argument("--without", type=Path, nargs="*", default=(), help="tables whose texts are left out")
    options = parser.parse_args()
    parts: dict[str, float | None] = {"macro_f1": None, "macro_f1_unseen_half": None, "reports_per_second": None}
    ratio = limit = None
    if options.reports.is_file():
        rows = read_reports(options.reports, options.without)
        found, unseen = agreement(rows), agreement(rows[1::2])
        enough = [name for name in CODES if found[name][0] >= ENOUGH]
        say(f"{'finding':18}  coded  labelled  both     F1  F1 of the unseen half")
        for name, counts in found.items():
            few = "" if name in enough else "  (few)"
            say(f"{name:18}{counts[0]:7}{counts[1]:10}{counts[2]:6}{f1(counts):7.3f}{f1(unseen[name]):9.3f}{few}")
        labels, search = seconds(rows, 1 if options.quick else 5)
        speed = len(rows) / labels
        parts = {
            "macro_f1": round(macro_f1(found, enough), 4),
            "macro_f1_unseen_half": round(macro_f1(unseen, enough), 4),
            "reports_per_second": round(speed),
        }
        ratio, limit = round(speed / PER_SECOND, 3), round(search / labels, 4)
    else:
        say(f"{options.reports}: no such file; give the Open-I table with --reports")
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    report = {"name": "rule_labels", "ratio": ratio, "parts": parts, "limit_fraction": limit, "machine": machine}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
