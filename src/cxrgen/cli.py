"""The command line: one row a command, each a module with `add_arguments(parser)` and `run(options) -> exit code`.

Every flag is accepted in kebab-case and snake_case. Modules are imported only when their command is called, so that
scoring never waits for torch.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cxrgen.core import __version__
from cxrgen.core.errors import InputError, UsageError, unknown
from cxrgen.core.files import NO_ROOM, disk_is_full

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

COMMANDS = {
    "download": ("cxrgen.llava_med.download", "fetch LLaVA-Med's files and the figures that they talk about"),
    "prepare": ("cxrgen.prepare.run", "raw studies to a prepared set"),
    "export-data": ("cxrgen.prepare.export_data", "a prepared set in the form of another training tool"),
    "phantom": ("cxrgen.phantom.run", "make synthetic studies with a known truth"),
    "train-views": ("cxrgen.views.run", "train what tells frontals from laterals by their picture"),
    "merge": ("cxrgen.llava_med.merge", "base LLaMA and published differences to a checkpoint"),
    "convert": ("cxrgen.llava_med.convert", "the original's checkpoints to stock LLaVA, and back"),
    "train": ("cxrgen.train.run", "train a report writer"),
    "plan": ("cxrgen.train.plan_command", "memory, time and cost of a training run, before it is started"),
    "recipes": ("cxrgen.train.recipes_command", "the packaged training recipes"),
    "export": ("cxrgen.train.export_command", "a run's checkpoint as a ready model folder"),
    "generate": ("cxrgen.generate.run", "write reports for a test set"),
    "choose": ("cxrgen.evaluate.choose", "of several reports of each study, keep one"),
    "evaluate": ("cxrgen.evaluate.run", "score reports against references"),
    "compare": ("cxrgen.evaluate.compare", "is one system better than another?"),
    "ablate": ("cxrgen.ablate.run", "what each view and each part of the context is worth"),
    "metrics": ("cxrgen.evaluate.metrics_list", "which scores there are, what they need and equal"),
    "meta": ("cxrgen.evaluate.meta", "how far scores agree with errors that radiologists counted"),
    "demo": ("cxrgen.demo.run", "all of it on synthetic studies"),
    "doctor": ("cxrgen.doctor.run", "what is installed, what a checkpoint is, and what either lacks"),
}

_MODEL_PACKAGES = {"torch", "transformers", "peft", "accelerate", "safetensors", "sentencepiece", "tokenizers"}
_CLOSED_PIPE = 141  # the shell's number for a program whose reader has left: `cxrgen compare ... | head`
_BAD_CHOICE = re.compile(r"argument (?:.*/)?(\S+): invalid choice: '?(.*?)'? \(choose from")


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line with the nearest name, not the whole usage."""

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        (file or sys.stdout).write(self.format_help())  # argparse's own ignores what the system refuses

    def name_values(self) -> None:
        """Say what kind of value a flag takes, where its command does not: PATH, N, NUMBER or VALUE."""
        kinds: dict[Any, str] = {Path: "PATH", int: "N", float: "NUMBER"}
        for action in self._actions:
            if action.option_strings and action.nargs != 0 and not (action.metavar or action.choices):
                action.metavar = kinds.get(action.type, "VALUE")

    def error(self, message: str) -> NoReturn:
        raise UsageError(self._with_a_way_out(message))

    def _with_a_way_out(self, message: str) -> str:
        flags = {flag: action for action in self._actions for flag in action.option_strings or [action.dest]}
        choice = _BAD_CHOICE.match(message)
        if choice and choice[1] in flags and flags[choice[1]].choices:
            return str(unknown(choice[1], choice[2], map(str, flags[choice[1]].choices or ())))
        words = message.removeprefix("unrecognized arguments: ").split() if "unrecognized" in message else []
        wrong = next((word for word in words if word.startswith("-")), "")
        if wrong:
            near = get_close_matches(wrong.partition("=")[0], flags, n=1)
            hint = f"did you mean {near[0]}?" if near else f"`{self.prog} --help` lists them"
            return f"no flag {wrong.partition('=')[0]}; {hint}"
        return f"{message.removeprefix('argument ')}; see `{self.prog} --help`"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (0 done, 1 failed, 2 wrong usage, 3 too much left out)."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  (a stream that the shell has closed is none)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of another code page shows "?" and goes on
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0] if words else "--help"
    try:
        try:
            code = _run(name, words)
        except SystemExit as end:  # of argparse, when it has printed the help
            code = int(end.code or 0)
        sys.stdout.flush()  # a full disk or a closed pipe is met here, not at the interpreter's end
        return code
    except InputError as error:
        return _say(name, error.shown("--show-values" in _kebab(words)), error.exit_code)
    except ModuleNotFoundError as error:
        return _missing(name, error)
    except KeyboardInterrupt:
        return _say(name, "interrupted; run it again to continue", 130)
    except OSError as error:
        return _refused(name, error, words)
    except MemoryError:
        return _say(name, "there is not enough memory; end other programs, or take a machine with more", 1)
    except Exception as error:
        if not disk_is_full(error):
            raise
        return _say(name, "a file cannot be written (no space left on the device); make room and run it again", 1)


def _run(name: str, words: Sequence[str]) -> int:
    if name in ("-h", "--help"):
        print(_overview())
        return 0 if words else 2
    if name == "--version":
        print(f"cxrgen {__version__}")
        return 0
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    module = importlib.import_module(COMMANDS[name][0])
    parser = CommandParser(
        prog=f"cxrgen {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    parser.name_values()
    return int(module.run(parser.parse_args(_kebab(words[1:]))))


def _say(name: str, message: str, code: int) -> int:
    print(f"cxrgen {name}: {message}" if name in COMMANDS else f"cxrgen: {message}", file=sys.stderr)
    return code


def _missing(name: str, error: ModuleNotFoundError) -> int:
    """A package of an extra that is not installed; anything else that cannot be imported is a fault and shown whole."""
    if (error.name or "").partition(".")[0] not in _MODEL_PACKAGES:
        raise error
    return _say(name, f'needs {error.name}; install it with: pip install "cxrgen[model]"', 1)


def _refused(name: str, error: OSError, words: Sequence[str]) -> int:
    """What the system refuses: room, permission, or standard output that takes no more; others are faults and shown."""
    place = error.filename
    if place is None and (isinstance(error, BrokenPipeError) or error.errno == errno.ENOSPC):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # the interpreter flushes once more at its end
                stream.flush()
                continue
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        full = error.errno == errno.ENOSPC
        return _say(name, "standard output: no space left on the device", 1) if full else _CLOSED_PIPE
    if error.errno in NO_ROOM:
        where = "a file" if place is None else str(place)
        return _say(name, f"{where}: cannot be written ({error.strerror}); make room and run it again", 1)
    if isinstance(error, PermissionError) and place is not None:
        hint = "change its permissions, or choose another place"
        return _say(name, f"{_typed(os.fsdecode(place), words)}: {error.strerror}; {hint}", 1)
    raise error


def _typed(place: str, words: Sequence[str]) -> str:
    """A path as the user has typed it; of one that was found on disk, which may hold a name, only where it lies."""
    path = Path(place).absolute()
    for word in words:
        given = Path(word.partition("=")[2] or word).absolute()
        if not word.startswith("--") or "=" in word:
            if path == given:
                return place
            if given != Path.cwd() and given in path.parents:
                return f"a file in {given}"
    return place if "--show-values" in _kebab(words) else "a file"


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
