"""Scores that compare embeddings of words."""
