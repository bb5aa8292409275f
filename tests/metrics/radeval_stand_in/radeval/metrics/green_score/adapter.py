import sys


class GreenMetric:
    def compute(self, refs, hyps, per_sample=False):
        print(refs, hyps)
        print(refs, hyps, file=sys.stderr)
        with open("results.csv", "w") as file:
            file.write(str(refs))
        return {"green": [None if not said else float(said == wanted) for said, wanted in zip(hyps, refs)]}
