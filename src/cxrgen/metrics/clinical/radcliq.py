"""RadCliQ: a linear mix of four scores that was fitted to radiologists' error counts (Yu et al. 2023). Lower is better.

The mixes are linear, so the value of a set is the mix of its mean components, and published tables of components can be
checked against published RadCliQ. The constants are those of the original program's two fitted models: inputs are
standardised, weighted and added to an intercept. v0 predicts a number of errors; v1 has no unit, is about 0 for an
average pair, and gives BLEU no weight. Some leaderboards print 1/v1: it jumps from plus to minus infinity where v1
crosses 0, so it orders systems only while all of them are well above 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrgen.core.progress import say
from cxrgen.metrics import Floats, Metric, MetricResult, load
from cxrgen.metrics import measure as measure_other

COMPONENTS = {  # score and the metric that gives it, in the order of the constants
    "radgraph_combined": "radgraph_combined",
    "bertscore": "bertscore",
    "chexbert_similarity": "chexbert",
    "bleu_2.cxr-report-metric": "bleu.cxr-report-metric",
}
_NEAR_ZERO = 0.1


@dataclass(frozen=True)
class LinearModel:
    """For each component: mean and scale to standardise by, and weight; then the intercept."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]
    intercept: float

    def predict(self, components: Floats) -> Floats:
        """RadCliQ of components of shape (..., 4) in the order of `COMPONENTS`."""
        standardised = (components - np.array(self.mean)) / np.array(self.scale)
        return np.asarray(standardised @ np.array(self.weight) + self.intercept)


V0 = LinearModel(
    (0.5398376019082272, 0.6312549595000001, 0.7716797866672277, 0.4607372064809605),
    (0.3018344440559102, 0.22466950746141123, 0.24750333805236252, 0.30336670936092264),
    (-0.4796252644863446, -0.6762170542369337, -0.46366575161751994, 0.2165861905287535),
    1.641666666666666,
)
V1 = LinearModel(
    (0.5379231241355762, 0.6175725628125001, 0.7647942121140658, 0.44738335396242174),
    (0.3028258411486429, 0.22430938459304575, 0.2539439110169773, 0.2989271671041838),
    (-0.37708368261038905, -0.37030009974480316, -0.25261621789593225, 4.315048405024756e-12),
    2.466552561323256e-10,
)


def measure(
    hypotheses: Sequence[str],
    references: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    measured: Mapping[str, MetricResult] | None = None,
) -> MetricResult:
    """`radcliq_v0`, `radcliq_v1` and `radcliq_v1_inverse` (1 / the set's v1); counts are (N, 5): components and 1.

    `settings` are those of the component metrics by their names (weights, mostly); those that were `measured` already
    are not measured again. Raises what they raise when something is missing: RadCliQ of other components would be
    another score.
    """
    counts = np.ones((len(hypotheses), len(COMPONENTS) + 1))
    parts = []
    for column, (name, metric) in enumerate(COMPONENTS.items() if hypotheses else ()):
        result = (measured or {}).get(metric)
        if result is None:
            result = measure_other(metric, hypotheses, references, **(settings or {}).get(metric, {}))
        counts[:, column] = result.per_study()[name]
        parts.append(f"{name} ({result.signature})")
    if hypotheses and V1.predict(counts[:, :4].mean(axis=0)) < _NEAR_ZERO:
        say("note: radcliq_v1 is near or below 0, where radcliq_v1_inverse has no meaning; use radcliq_v1")
    return MetricResult(
        counts,
        radcliq,
        f"radcliq|constants:CXR-Report-Metric's v0 and v1|parts:{' + '.join(parts)}",
        frozenset({"radcliq_v0", "radcliq_v1"}),
    )


def radcliq(sums: Floats) -> dict[str, Floats]:
    """The three values from sums of the four components and of ones, shape (..., 5)."""
    components = sums[..., :4] / sums[..., 4:5]
    v1 = V1.predict(components)
    return {"radcliq_v0": V0.predict(components), "radcliq_v1": v1, "radcliq_v1_inverse": 1 / v1}


def lacks(given: Mapping[str, Any]) -> str:
    """What RadCliQ cannot run without, by the options of its parts; empty where nothing is missing."""
    settings = given.get("settings", {})
    missing = [part for part in COMPONENTS.values() if load(part).lacks(settings.get(part, {}))]
    return f"needs {', '.join(missing)}" if missing else ""


METRIC = Metric(
    measure, "clinical", parts=tuple(COMPONENTS.values()), weights=True, lacks=lacks, headline={"radcliq_v1": 70}
)
