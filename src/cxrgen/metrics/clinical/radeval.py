"""RaTEScore, GREEN and SRR-BERT, as the package radeval computes them.

Their models are too large, and depend on too many packages, to be rebuilt here. radeval runs in a process of its own,
with this Python or with that of another environment, so that its requirements do not restrict the rest. Texts are
passed through a folder that only the user can read and that is removed afterwards; network access is switched off in
the process. Weights are radeval's own: it looks for them in its caches, and `radeval_runner.py --fetch` fills those.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core.errors import InputError
from cxrgen.core.files import write_json
from cxrgen.core.progress import say
from cxrgen.metrics import Floats, Metric, MetricResult, Option, mean_of_studies
from cxrgen.metrics.clinical import radeval_runner

WEIGHTS = {  # what each metric needs besides radeval, as hosted on the Hugging Face hub
    "radgraph-xl": "radgraph-xl.tar.gz of StanfordAIMI/RRG_scorers",
    "radgraph": "radgraph.tar.gz of StanfordAIMI/RRG_scorers",
    "ratescore": "Angelakeke/RaTE-NER-Deberta and FremyCompany/BioLORD-2023-C",
    "green": "StanfordAIMI/GREEN-radllama2-7b (14 GB)",
    "srr": "StanfordAIMI/SRR-BERT-Leaves-with-Statuses, microsoft/BiomedVLP-CXR-BERT-general and nltk's punkt_tab",
}
SRR_LABELS = 163  # findings with a status
RADEVAL = Option("--radeval", "python", "the Python that has radeval (default: this one)", "PYTHON")


def measure_ratescore(hypotheses: Sequence[str], references: Sequence[str], python: Path | None = None) -> MetricResult:
    """`ratescore` (Zhao et al. 2024, its weights for long reports); counts are (N, 2): the pair's value and 1."""
    return _scored_by("ratescore", "affinity:long|no entity or no sentence:0.5", hypotheses, references, python)


def measure_green(hypotheses: Sequence[str], references: Sequence[str], python: Path | None = None) -> MetricResult:
    """`green` (Ostmeier et al. 2024); counts are (N, 2): the pair's value and 1. A 7B model; use a GPU."""
    return _scored_by("green", "unreadable answer:0", hypotheses, references, python)


def measure_srr(hypotheses: Sequence[str], references: Sequence[str], python: Path | None = None) -> MetricResult:
    """`srr_f1_weighted` over SRR-BERT's labels; counts are (N, 489): 163 hits, false alarms, misses.

    The value of a set is weighted by the labels' support in it, as radeval's default is. Of one study it is therefore
    the share of the reference's labels that were found, not radeval's per-sample F1.
    """
    signature = "srr|radeval|labels:leaves with statuses|average:weighted by support"
    if not hypotheses:
        return MetricResult(np.zeros((0, 3 * SRR_LABELS)), _weighted_f1, signature)
    texts = list(dict.fromkeys((*hypotheses, *references)))
    rows = dict(zip(texts, run_radeval("srr", {"texts": texts}, python)))
    table = np.zeros((2, len(hypotheses), SRR_LABELS))
    for side, column in enumerate((hypotheses, references)):
        for study, text in enumerate(column):
            table[side, study, rows[text]] = 1
    hyp, ref = table
    return MetricResult(np.concatenate([hyp * ref, hyp * (1 - ref), (1 - hyp) * ref], axis=1), _weighted_f1, signature)


def _weighted_f1(sums: Floats) -> dict[str, Floats]:
    hits, alarms, misses = (sums[..., start : start + SRR_LABELS] for start in range(0, 3 * SRR_LABELS, SRR_LABELS))
    support = hits + misses
    each = 2 * hits / np.maximum(2 * hits + alarms + misses, 1)
    return {"srr_f1_weighted": (each * support).sum(-1) / support.sum(-1)}


def _scored_by(
    name: str, details: str, hypotheses: Sequence[str], references: Sequence[str], python: Path | None
) -> MetricResult:
    values = []
    if hypotheses:
        values = run_radeval(name, {"hypotheses": list(hypotheses), "references": list(references)}, python)
    return mean_of_studies({name: values}, f"{name}|radeval|{details}|level:mean of studies")


def run_radeval(metric: str, work: Mapping[str, list[str]], python: Path | None = None) -> Any:
    """What `radeval_runner` makes of the texts in `work` with the metric's weights, in the Python `python` or this one.

    Raises InputError that says what is missing and how to bring it: the package, the weights, or the place in radeval
    where it failed.
    """
    # A relative path would be looked for in the process's own folder; links stay, since they tell an environment.
    program = os.path.abspath(python) if python and os.path.exists(python) else str(python or sys.executable)
    script = os.path.abspath(radeval_runner.__file__)
    say(f"{metric}: {len(next(iter(work.values())))} reports through radeval")
    with tempfile.TemporaryDirectory() as folder:  # mode 700
        source, target = Path(folder, "work.json"), Path(folder, "result.json")
        write_json(source, work, private=True)
        inside = {**os.environ, "TMPDIR": folder, "HF_DATASETS_CACHE": folder}  # copies of the texts go with the folder
        try:
            words = [program, script, metric, str(source), str(target)]
            done = subprocess.run(words, cwd=folder, env=inside, capture_output=True, check=False)
        except OSError as error:
            raise InputError(
                f"{program}: cannot be run ({type(error).__name__}); give a Python with --radeval"
            ) from None
        if done.returncode or not target.is_file():
            raise InputError(f"{metric}: radeval's process ended with code {done.returncode}; -9 means out of memory")
        result = json.loads(target.read_text(encoding="utf-8"))
    if "values" in result:
        return result["values"]
    raise InputError(f"{metric}: {_way_out(metric, result, program, script)}")


def _way_out(metric: str, result: Mapping[str, str], program: str, script: str) -> str:
    if result["stage"] == "import":
        return (
            f"the package radeval cannot be used by {program} ({result['error']}); make an environment for it, "
            "`python -m venv radeval && radeval/bin/pip install radeval 'numpy<2' 'pyarrow<22'`, and give "
            f"radeval/bin/python with --radeval; it will need {WEIGHTS[metric]}"
        )
    if result["stage"] == "load":
        return (
            f"needs {WEIGHTS[metric]}, not found or not usable ({result['error']}); bring them, with a network, by "
            f"`{program} {script} --fetch {metric}`"
        )
    return f"radeval failed on these reports ({result['error']})"


RATESCORE = Metric(measure_ratescore, "clinical", options=(RADEVAL,))
GREEN = Metric(measure_green, "clinical", options=(RADEVAL,))
SRR = Metric(measure_srr, "clinical", options=(RADEVAL,))
