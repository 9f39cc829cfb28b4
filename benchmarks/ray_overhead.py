"""What `embed --ray` costs beside plain `embed`: the same heap, one after the other, each in artifacts of its own.

    python benchmarks/ray_overhead.py HEAP [--folder DIR] [--rounds 2]

Starts a cluster of one node on this machine. Prints pages per second of each run, and the ratio of the best ones.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def measured(heap: str, artifacts: Path, more: list[str]) -> tuple[int, float]:
    """Pages and seconds of one run, as the command tells them; without the start of Python, Ray and the network."""
    code = "from embedpipe.commands import main; main()"
    command = [sys.executable, "-c", code, "embed", heap, "--artifacts", str(artifacts), "--json", *more]
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return told["embedded"], told["seconds"]


def main() -> None:
    """Runs both in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("heap")
    parser.add_argument("--folder", default=None)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        for number in range(asked.rounds):
            for name, more in {"plain": [], "ray": ["--ray", "local", "--shards", "4"]}.items():
                pages, seconds = measured(asked.heap, Path(scratch) / f"{name}-{number}", more)
                print(f"{name}: {pages} pages in {seconds:.1f} s, {pages / seconds:.1f} pages/s", flush=True)
                best[name] = max(best.get(name, 0.0), pages / seconds)
    print(f"ray / plain: {best['ray'] / best['plain']:.3f}")


if __name__ == "__main__":
    main()
