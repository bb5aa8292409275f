"""`cxrgen prepare --engine ray` on two nodes, with a worker killed half-way: the same bytes as one machine's?

Makes phantoms, prepares them once with local processes and once on a Ray cluster of two nodes (both on this machine,
one task at a time each). When half of the images are stored, one of the workers that stores them is killed. Every file
of the two sets is then compared. Needs the extra [ray].

    python benchmarks/ray_cluster.py [--images N] [--size N]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from cxrgen.core.files import sha256_file
from cxrgen.core.progress import say
from cxrgen.prepare.store_images import JOURNAL


def cxrgen(*words: object, **environment: str) -> float:
    """Run a command; returns its wall time in seconds."""
    begin = time.monotonic()
    command = [sys.executable, "-m", "cxrgen", *map(str, words)]
    subprocess.run(command, check=True, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def kill_a_worker(journal: Path, half: int, killed: dict[str, Any]) -> None:
    """Wait until `half` of the images are in the journal, then end one process that runs a task, without a warning."""
    while not journal.is_file() or journal.read_bytes().count(b"\n") <= half:
        time.sleep(0.2)
    while not killed:
        for line in subprocess.run(("ps", "-eo", "pid=,args="), capture_output=True, text=True).stdout.splitlines():
            process, _, name = line.strip().partition(" ")
            if name.startswith("ray::") and "_store" in name:  # Ray names a process by its task
                os.kill(int(process), signal.SIGKILL)
                killed.update(stored=journal.read_bytes().count(b"\n") - 1)
                return
        time.sleep(0.02)


def files_of(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file of a set."""
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*.*")) if path.is_file()}


def measure(folder: Path, images: int, size: int) -> dict[str, Any]:
    phantom = ("phantom", "--out", folder / "phantom", "--studies", images // 2, "--size", size, "--style", "plain")
    cxrgen(*phantom)
    say("phantoms made")
    local = cxrgen("prepare", folder / "phantom", "--out", folder / "local", "--workers", "2")
    say(f"local: {local:.0f} s")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    killed: dict[str, Any] = {}
    watching = (folder / "ray" / JOURNAL, images // 2, killed)
    threading.Thread(target=kill_a_worker, args=watching, daemon=True).start()
    words = ("prepare", folder / "phantom", "--out", folder / "ray", "--workers", "2", "--engine", "ray")
    wall = cxrgen(*words, RAY_ADDRESS=cluster.address)
    nodes = len(cluster.list_all_nodes())
    cluster.shutdown()
    one, other = files_of(folder / "local"), files_of(folder / "ray")
    return {
        "images": sum(name.startswith("images/") for name in one),
        "nodes": nodes,
        "killed_after": killed.get("stored"),
        "files": len(one),
        "files_that_differ": sum(one.get(name) != other.get(name) for name in {*one, *other}),
        "seconds": {"local": round(local, 1), "ray": round(wall, 1)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, help="how many (default 100,000)")
    parser.add_argument("--size", type=int, default=64, help="their side in pixels (default 64)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = measure(Path(place), options.images, options.size)
    print(json.dumps({"benchmark": "ray_cluster", "processor": platform.processor(), **found}))


if __name__ == "__main__":
    main()
