"""Checkpoint and studies to reports."""
