from __future__ import annotations

import pytest

from cxrgen.core.records import Prediction
from cxrgen.generate.batch import _without_priors
from cxrgen.text.prior_mentions import speaks_of_prior


def test_only_reports_that_speak_of_an_earlier_study_change(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["Clear lungs.  Two blanks.", "Stable small effusion. No pneumothorax.", "No change since the prior study."]
    written = _without_priors([Prediction(str(number), text) for number, text in enumerate(texts)])
    assert [each.report for each in written] == [texts[0], "Small effusion. No pneumothorax.", texts[2]]
    assert [speaks_of_prior(each.report) for each in written] == [False, False, True]
    assert "2 of 3 reports spoke of an earlier study; 1 say nothing else" in capsys.readouterr().err
