"""Scores that compare words: BLEU, ROUGE-L, CIDEr, METEOR."""
