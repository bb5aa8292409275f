"""Prepared set to checkpoint."""
