"""List the packaged training recipes: what each is for, and the command that starts it.

`cxrgen train NAME ...` uses one; `cxrgen recipes NAME` prints it, to be saved and changed.
"""

from __future__ import annotations

import argparse
from importlib import resources

from cxrgen.core.errors import unknown

_EXAMPLES = """examples:
  cxrgen recipes
  cxrgen recipes medgemma-4b-lora > mine.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("name", nargs="?", metavar="NAME", help="recipe to print; default: list all")


def run(options: argparse.Namespace) -> int:
    texts = recipe_texts()
    if options.name is None:
        for name, text in texts.items():
            purpose, command = (line.removeprefix("# ") for line in text.splitlines()[:2])
            print(f"{name}\n  {purpose}\n  {command.removeprefix('Run: ')}\n")
    elif options.name in texts:
        print(texts[options.name], end="")
    else:
        raise unknown("recipe", options.name, texts)
    return 0


def recipe_texts() -> dict[str, str]:
    """Name of each packaged recipe -> its text; the first two lines say what it is for and how to start it."""
    files = sorted((resources.files("cxrgen") / "recipes").iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): file.read_text(encoding="utf-8") for file in files}
