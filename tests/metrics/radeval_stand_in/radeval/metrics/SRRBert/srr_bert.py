import numpy as np


def srr_bert_parse_sentences(text):
    return text.split(". ")


class SRRBert:
    def __init__(self, model_type):
        self.labels = {"leaves_with_statuses": 163, "leaves": 55, "upper_with_statuses": 73, "upper": 25}[model_type]

    def __call__(self, sentences):
        """The label of a sentence is the number of its letters."""
        rows = np.zeros((len(sentences), self.labels), dtype=int)
        rows[range(len(sentences)), [len(sentence.strip(".")) for sentence in sentences]] = 1
        return rows, None
