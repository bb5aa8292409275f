"""Synthetic studies whose truth is known. They test plumbing and methods; they teach nothing about real radiographs."""

STYLES = ("varied", "plain")  # of reports and histories
