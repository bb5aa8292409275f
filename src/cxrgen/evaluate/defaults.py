"""Defaults and choices of the commands' flags, apart from what uses them: help imports neither statistics nor pages."""

from __future__ import annotations

IMAGE_SIZE = 320  # longest side of images on the page, in pixels
PERMUTATIONS = 10_000  # of the paired test between systems
TABLE_FORMATS = ("text", "markdown", "latex", "csv")

REXRANK = "rexrank"
FORMATS = ("auto", REXRANK)  # of reports that are scored
