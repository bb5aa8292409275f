"""The command line: one row a command, each a module with `add_arguments(parser)` and `run(options) -> exit code`.

Every flag is accepted in kebab-case and snake_case. Modules are imported only when their command is called, so that
scoring never waits for torch.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from cxrgen.core import __version__
from cxrgen.core.errors import InputError

COMMANDS = {
    "download": ("cxrgen.llava_med.download", "fetch LLaVA-Med's files and the figures that they talk about"),
    "prepare": ("cxrgen.prepare.run", "raw studies to a prepared set"),
    "phantom": ("cxrgen.phantom.run", "make synthetic studies with a known truth"),
    "merge": ("cxrgen.llava_med.merge", "base LLaMA and published differences to a checkpoint"),
    "convert": ("cxrgen.llava_med.convert", "the original's checkpoints to stock LLaVA, and back"),
    "train": ("cxrgen.train.run", "train a report writer"),
    "generate": ("cxrgen.generate.run", "write reports for a test set"),
    "evaluate": ("cxrgen.evaluate.run", "score reports against references"),
    "compare": ("cxrgen.evaluate.compare", "is one system better than another?"),
    "demo": ("cxrgen.demo.run", "all of it on synthetic studies"),
    "doctor": ("cxrgen.doctor.run", "what is installed, what a checkpoint is, and what either lacks"),
}

_MODEL_PACKAGES = {"torch", "transformers", "peft", "accelerate", "safetensors", "sentencepiece", "tokenizers"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (0 done, 1 failed, 2 wrong usage, 3 too much left out)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0] if words else "--help"
    if name in ("-h", "--help"):
        print(_overview())
        return 0 if words else 2
    if name == "--version":
        print(f"cxrgen {__version__}")
        return 0
    if name not in COMMANDS:
        print(f"cxrgen: no command {name!r}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        module = importlib.import_module(COMMANDS[name][0])
    except ModuleNotFoundError as error:
        return _missing(name, error)
    parser = argparse.ArgumentParser(
        prog=f"cxrgen {name}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    try:
        return int(module.run(parser.parse_args(_kebab(words[1:]))))
    except InputError as error:
        print(f"cxrgen {name}: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        return _missing(name, error)
    except KeyboardInterrupt:
        print(f"cxrgen {name}: interrupted; run it again to continue", file=sys.stderr)
        return 130


def _missing(name: str, error: ModuleNotFoundError) -> int:
    """A package of an extra that is not installed; anything else that cannot be imported is a fault and shown whole."""
    if (error.name or "").partition(".")[0] not in _MODEL_PACKAGES:
        raise error
    print(f'cxrgen {name}: needs {error.name}; install it with: pip install "cxrgen[model]"', file=sys.stderr)
    return 1


def _kebab(words: Sequence[str]) -> list[str]:
    """`--image_folder=a_b` becomes `--image-folder=a_b`: flags have one spelling inside, values are left alone."""
    result = []
    for word in words:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            word = flag.replace("_", "-") + equals + value
        result.append(word)
    return result


def _overview() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items())
    return f"usage: cxrgen COMMAND [options]\n\n{rows}\n\n`cxrgen COMMAND --help` shows options and examples."
