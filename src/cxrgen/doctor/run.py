"""Show what is installed and usable, and what is missing for the rest; with MODEL: what that folder is and lacks.

Nothing is changed or downloaded. Exit code 1: something is missing, a package of the core or a part of MODEL.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from packaging.requirements import Requirement

from cxrgen.core.errors import InputError

_USES = {
    "": "prepare, evaluate, compare, download, phantom",
    "model": "merge, convert, train, generate, demo",
    "dicom": "compressed DICOM images",
    "clinical": "RadGraph, RadCliQ and other clinical metrics",
}
_UNSHOWN = ("dev", "bench")  # of use to those who change the package
_EXAMPLES = """examples:
  cxrgen doctor
  cxrgen doctor llava-med
  cxrgen doctor LLaVA-Med-7B --json
  cxrgen doctor llava-med --gpu
"""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what it is, how it is, and, where something is lacking, the way to have it."""

    what: str
    state: str
    way_out: str = ""


@dataclass(frozen=True)
class Report:
    """All findings of a kind; `lacking` says whether it stops anything that every user needs."""

    title: str
    findings: list[Finding] = field(default_factory=list)
    lacking: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "model", nargs="?", type=Path, metavar="MODEL", help="checkpoint folder or projector file to inspect"
    )
    parser.add_argument_group("what to test").add_argument(
        "--gpu", action="store_true", help="test what needs a GPU; takes minutes"
    )
    parser.add_argument_group("output").add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    checks: list[Callable[[], Report]] = [installed, machine]
    if options.model is not None:
        checks = [lambda: _model(options.model)]
    if options.gpu:
        checks.append(lambda: _gpu(options.model))
    reports = [check() for check in checks]
    if options.json:
        print(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        print("\n\n".join(map(_text, reports)))
    return int(any(report.lacking for report in reports))


def installed() -> Report:
    """Which of the package's requirements are there, extra by extra, by the package's own metadata."""
    findings, lacking = [], False
    requirements = [Requirement(line) for line in importlib.metadata.requires("cxrgen") or ()]
    for extra in ("", *(importlib.metadata.metadata("cxrgen").get_all("Provides-Extra") or ())):
        needed = [each for each in requirements if _is_for(each, extra)]
        if extra in _UNSHOWN or not needed:
            continue
        faults = [fault for fault in map(_fault, needed) if fault]
        name = f"[{extra}]" if extra else "core"
        what = f"{name}: {_USES[extra]}" if extra in _USES else name
        way_out = f'pip install "cxrgen{name if extra else ""}"' if faults else ""
        findings.append(Finding(what, "lacks " + ", ".join(faults) if faults else "usable", way_out))
        lacking |= bool(faults) and not extra
    return Report(
        f"cxrgen {importlib.metadata.version('cxrgen')}, Python {platform.python_version()}", findings, lacking
    )


def _is_for(requirement: Requirement, extra: str) -> bool:
    """Whether this Python needs a requirement for an extra; "" is the core."""
    marker = requirement.marker
    for_core = marker is None or marker.evaluate({"extra": ""})
    return for_core if not extra else not for_core and marker is not None and marker.evaluate({"extra": extra})


def _fault(requirement: Requirement) -> str:
    """Why a requirement such as `torch>=2.6` is not met; "" when it is."""
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return requirement.name
    unmet = [str(each) for each in requirement.specifier if not each.contains(version, prereleases=True)]
    return f"{requirement.name} {','.join(sorted(unmet))} (it is {version})" if unmet else ""


def machine() -> Report:
    """Cores, memory, disk, and the devices that torch sees."""
    findings = [Finding("processors", str(os.cpu_count()))]
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        findings.append(Finding("memory", f"{memory / 1e9:.0f} GB"))
    except (AttributeError, ValueError, OSError):
        pass
    findings.append(Finding("free disk here", f"{shutil.disk_usage('.').free / 1e9:.0f} GB"))
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        findings.append(Finding("torch", "not installed", 'pip install "cxrgen[model]"'))
        return Report("This machine", findings)
    except Exception as error:  # a broken installation fails in many ways
        findings.append(Finding("torch", f"cannot be imported ({type(error).__name__})", "install it again"))
        return Report("This machine", findings)
    findings.append(Finding("torch", torch.__version__))
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        kind = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16"
        findings.append(Finding(f"GPU {number}", f"{card.name}, {card.total_memory / 1e9:.0f} GB, {kind}"))
    if not torch.cuda.device_count():
        findings.append(Finding("GPU", "none; small models train on a CPU, 7B models do not"))
    return Report("This machine", findings)


def _model(path: Path) -> Report:
    try:
        importlib.import_module("torch")
    except ImportError:
        raise InputError('reading a checkpoint needs torch; pip install "cxrgen[model]"') from None
    from cxrgen.doctor.checkpoint import describe

    kind, rows = describe(path)
    findings = [Finding(*row) for row in rows]
    return Report(f"{path}: {kind}", findings, any(each.way_out for each in findings))


def _gpu(model: Path | None) -> Report:
    from cxrgen.doctor.gpu import FAILED, gpu_checks

    outcomes = gpu_checks(model)
    findings = [Finding(each.name, f"{each.result}: {each.detail}") for each in outcomes]
    return Report("GPU self-test", findings, any(each.result == FAILED for each in outcomes))


def _text(report: Report) -> str:
    lines = [report.title]
    for each in report.findings:
        lines.append(f"  {each.what}: {each.state}" + (f"\n      {each.way_out}" if each.way_out else ""))
    return "\n".join(lines)
