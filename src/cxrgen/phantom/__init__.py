"""Synthetic studies whose truth is known. They test plumbing and methods; they teach nothing about real radiographs."""

STYLES = ("varied", "plain", "followup")  # of reports and histories
