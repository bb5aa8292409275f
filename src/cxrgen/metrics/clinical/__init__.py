"""Scores that compare what reports say: labels, entities, composites."""
