"""cxrgen: chest X-ray studies with reports in, a report-writing model and trustworthy scores out."""

__version__ = "0.1.0"
