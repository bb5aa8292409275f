"""Predictions and references to scores with confidence intervals, and a page to look at."""
