import os

from RadEval.metrics.log import log
from RadEval.metrics.radgraph.labels import LABEL


class RadGraph:
    def __init__(self, model_type):
        if os.environ.get("STAND_IN_WEIGHTS") == "none":
            raise Exception("Cannot download the file")
        self.label = LABEL[model_type]
        log("radgraph:loaded")

    def __call__(self, texts):
        """A word is an entity, and each modifies the next; a report with the word unreadable is skipped."""
        log(f"radgraph:{len(texts)}")
        found = {}
        for place, text in enumerate(texts):
            words = text.split()
            if "explode" in words:
                raise ValueError(f"cannot cope with {text}")
            if "unreadable" in words:
                continue
            entities = {
                str(number): {
                    "tokens": word,
                    "label": self.label,
                    "relations": [["modify", str(number + 1)]] if number < len(words) else [],
                }
                for number, word in enumerate(words, 1)
            }
            found[str(place)] = {"text": text, "entities": entities}
        return found
