from radeval.metrics.RaTEScore.utils import sentence_split


class RaTEScore:
    def compute_score(self, candidate_list, reference_list):
        """Share of common words; a text without a sentence gives no row, and all later rows move up."""
        rows = [
            [set(text.split()) for text in texts if sentence_split([text])[0]]
            for texts in (candidate_list, reference_list)
        ]
        return [len(said & wanted) / len(said | wanted) for said, wanted in zip(*rows)], None, None
