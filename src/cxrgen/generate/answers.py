"""Files of answers: CSV for reports, JSON lines for chat questions as LLaVA-Med's scorers read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cxrgen.files import write_csv, write_text
from cxrgen.records import Conversation, Prediction
from cxrgen.text.prompts import IMAGE

COLUMNS = ("study_id", "report")


def write_reports_csv(path: Path, reports: Sequence[Prediction]) -> None:
    """study_id,report with one header, readable by its owner only."""
    write_csv(path, COLUMNS, [(each.study_id, each.report) for each in reports], private=True)


def write_answers(path: Path, questions: Sequence[Conversation], answers: Sequence[Prediction], model: str) -> None:
    """One line an answer: question_id, prompt, text, answer_id, model_id, metadata.

    A question_id that is a whole number is written as one, as question files have it. The prompt is the question with
    its image behind it, wherever the file had it. An answer_id follows from what it names: the same in every run.
    """
    lines = []
    for question, answer in zip(questions, answers):
        name = question.id
        words = question.turns[0].text.replace(IMAGE, "").strip()
        record: dict[str, Any] = {
            "question_id": int(name) if name.isdecimal() and str(int(name)) == name else name,
            "prompt": "\n".join([words, *[IMAGE] * len(question.images)]),
            "text": answer.report,
            "answer_id": uuid5(NAMESPACE_URL, f"{model}\0{name}\0{words}\0{answer.report}").hex[:22],
            "model_id": model,
            "metadata": {},
        }
        lines.append(json.dumps(record, ensure_ascii=False))
    write_text(path, "".join(line + "\n" for line in lines), private=True)
