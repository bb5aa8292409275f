"""One command from within another: said as one would type it, then run in this process."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.progress import say


def run_command(name: str, module_name: str, *words: str | Path) -> None:
    """Say the command, then run it as the command line would. Raises InputError where it fails."""
    texts = [str(word) for word in words]
    say(f"\n$ cxrgen {name} {' '.join(texts)}")
    module = importlib.import_module(module_name)
    parser = argparse.ArgumentParser(prog=f"cxrgen {name}")
    module.add_arguments(parser)
    code = module.run(parser.parse_args(texts))
    if code:
        raise InputError(f"`cxrgen {name}` left with exit code {code}")
