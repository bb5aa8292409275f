"""What every room may use: records, errors, files, tables, journals, folders, progress, workers."""

__version__ = "0.1.0"
