"""What is wrong in each report, by kind and finding."""

from __future__ import annotations

import numpy as np

from cxrgen.evaluate import evaluate
from cxrgen.evaluate.page.errors import errors

REFERENCES = [
    "Small left effusion. No edema.",
    "Heart normal. No pneumothorax.",
    "Left effusion.",
    "Unchanged left effusion compared to the prior study.",
]
REPORTS = [
    "Small right effusion. Edema.",  # wrong side; edema invented, and its negation flipped
    "Heart normal. No pneumothorax. Unchanged from the prior exam.",  # a prior that nobody knows of
    "Heart normal.",  # missed
    "Unchanged left effusion compared to the prior study.",  # right, and so is its prior
]


def test_each_kind_is_found_where_it_is() -> None:
    scores = evaluate(REPORTS, REFERENCES, list("abcd"), metrics=["rule"])
    found = errors(scores, REPORTS, REFERENCES)
    assert not found.true
    assert set(found.of_study[0]) == {
        ("side", "pleural_effusion"),
        ("invented", "edema"),
        ("negation", "edema"),
    }
    assert found.of_study[1:] == [[("prior", "")], [("missed", "pleural_effusion")], []]
    assert [found.count(kind) for kind in ("missed", "invented", "side", "negation", "prior")] == [1, 1, 1, 1, 1]
    assert (found.count("missed", "edema"), found.count("missed", "pleural_effusion")) == (0, 1)
    column = found.findings.index("pleural_effusion")
    assert found.caught[:, column].tolist() == [True, False, False, True]
    assert "no_finding" not in found.findings


def test_counts_of_the_table_are_those_of_the_studies() -> None:
    scores = evaluate(REPORTS, REFERENCES, list("abcd"), metrics=["rule"])
    found = errors(scores, REPORTS, REFERENCES)
    for kind, table in (("missed", found.missed), ("invented", found.invented)):
        listed = [[(kind, name) in of for name in found.findings] for of in found.of_study]
        assert np.array_equal(table, listed)
