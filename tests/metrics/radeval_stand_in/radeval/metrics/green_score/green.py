import sys

from radeval.metrics.log import log


class GREEN:
    def __init__(self, model_name, output_dir):
        assert model_name.endswith("7b")
        log("green:loaded")

    def __call__(self, refs, hyps):
        """1 for equal texts, no value for an empty one; talks and writes as the real one does."""
        log(f"green:{len(refs)}")
        print(refs, hyps)
        print(refs, hyps, file=sys.stderr)
        with open("results.csv", "w") as file:
            file.write(str(refs))
        scores = [None if not said else float(said == wanted) for said, wanted in zip(hyps, refs)]
        return sum(filter(None, scores)) / len(scores), 0.0, scores, None
