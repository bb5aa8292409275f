"""Two hundred made-up reports with a thousand planted identifiers, and words that look like some and are none."""

from __future__ import annotations

import random
from dataclasses import dataclass

REPORTS = 200
_FIRST = """Jane Erika Maria Rosa Wei Aisha John Otto Luis Ahmed Peter Ivan Grace May Rose Li Anna Omar Noah Ruth"""
FIRST = tuple(_FIRST.split())
_LAST = """Doe Mustermann Garcia Nguyen Okafor Smith White Small Young Brown Hart Lee Schneider O'Brien Kowalski Rossi
Tanaka Johansson Petrov Haddad"""
LAST = tuple(_LAST.split())
SENTENCES = (
    "The heart is normal in size.", "Lungs are clear without focal consolidation.", "No pneumothorax is seen.",
    "Small left pleural effusion, unchanged.", "A right internal jugular line ends in the lower SVC.",
    "Swan-Ganz catheter tip projects over the main pulmonary artery.", "Kerley B lines suggest mild edema.",
    "There is a 5 x 7 mm nodule in the right upper lobe.", "Degenerative changes at T12 and L1.",
    "Old fractures of ribs 4/5 on the right.", "Port-A-Cath in place.", "The Dobhoff tube ends in the stomach.",
    "This may be atelectasis.", "The aorta is tortuous, 4.2 cm.", "White out of the left lung has resolved.",
    "Young patient with large lungs.", "Brown fat is not evaluated.", "Endotracheal tube 3.5 cm above the carina.",
    "Ill-defined opacity at the left base, 2 to 3 cm.", "Mild cardiomegaly, stable since the prior study.",
    "Median sternotomy wires are intact.", "Increased AP diameter of the chest.",
    "PICC line tip at the cavoatrial junction.",
    "A Hickman catheter is seen.", "Grade 1/2 changes of the spine.", "Hart is no word here.",
)  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """One report: what its header says, its text, the planted identifiers by kind, and the text's own words."""

    header: dict[str, str]
    text: str
    of_header: list[str]
    of_rules: list[str]
    own: list[str]


def planted_reports(seed: int = 0) -> list[Planted]:
    rng = random.Random(seed)
    return [_report(number, rng) for number in range(REPORTS)]


def _report(number: int, rng: random.Random) -> Planted:
    first, last = rng.choice(FIRST), rng.choice(LAST)
    doctor_first, doctor_last = rng.choice(FIRST), rng.choice([name for name in LAST if name != last])
    year, month, day = rng.randint(1930, 1999), rng.randint(1, 12), rng.randint(1, 28)
    header = {
        "patient_name": f"{last}^{first}", "mrn": f"{rng.randint(10**6, 10**8):08}",
        "accession": f"CR-{number:05}-{rng.randint(10, 99)}",
        "dob": f"{year}{month:02}{day:02}", "referring_physician": f"{doctor_last}^{doctor_first}",
    }  # fmt: skip
    birth = rng.choice([f"{month}/{day}/{year}", f"{year}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year}"])
    doctor = [f"{doctor_first} {doctor_last}", f"{doctor_first[0]}. {doctor_last}", doctor_last]
    of_header = [
        (rng.choice([f"{first} {last}", f"{last}, {first}", f"{first.upper()} {last.upper()}"]), "{} was examined."),
        (rng.choice([header["mrn"], header["mrn"].lstrip("0")]), "Number {} is on the request."),
        (rng.choice([header["accession"], header["accession"].lower()]), "Compared with {} of today."),
        (birth, "Born {} and well known here."),
        (rng.choice(doctor), "Seen with Dr. {} today."),
    ]  # fmt: skip
    other_first, other_last = rng.choice(FIRST), rng.choice(LAST)
    of_rules = [
        (f"{other_first} {other_last}", "Findings were discussed with Dr. {} by phone."),
        (f"{other_first} {other_last}", "Read by {}, MD and filed."),
        (f"{rng.randint(200, 999)}-{rng.randint(200, 999)}-{rng.randint(1000, 9999)}", "Call {} with questions."),
        (f"({rng.randint(200, 999)}) {rng.randint(200, 999)}-{rng.randint(1000, 9999)}", "The office is at {}."),
        (f"{rng.randint(10**6, 10**7)}", "Images of MRN: {} were shown beside."),
        (f"{rng.randint(1, 12)}/{rng.randint(1, 28)}/20{rng.randint(10, 23)}", "Comparison is made to {} again."),
        (f"March {rng.randint(1, 28)}, 20{rng.randint(10, 23)}", "Unchanged from {} in all."),
        (f"{rng.randint(1, 28)} October 20{rng.randint(10, 23)}", "Prior study of {} was seen."),
        (f"{other_last}", "Nurse {} was informed of the result."),
        (f"{other_first.lower()}.{other_last.lower().replace(chr(39), '')}@example.org", "Write to {} for images."),
        (f"20{rng.randint(10, 23)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}", "The CT of {} shows more."),
        (f"{rng.randint(10000, 99999)}", "The resident on pager {} was told."),
    ]  # fmt: skip
    start = number % 5
    chosen_header = [of_header[(start + step) % 5] for step in range(3)]
    chosen_rules = rng.sample(of_rules, 2)
    plants = [*chosen_header, *chosen_rules]
    own = rng.sample(SENTENCES, 8)
    lines = [*own, *(sentence.format(value) for value, sentence in plants)]
    rng.shuffle(lines)
    words = " ".join([*own, *(sentence.format(" ") for _, sentence in plants)]).split()
    values = [value for value, _ in chosen_header], [value for value, _ in chosen_rules]
    return Planted(header, "FINDINGS: " + " ".join(lines), *values, words)
