"""Two shards side by side against one process with two workers, on the same documents and cores.

    python benchmarks/shards.py DOCUMENTS --repeats 3

The two take turns, each time into new artifacts; the merge of the shards counts. Prints a Markdown table: medians of
the clock and of processor time (which a machine that others use as well tells better), and the speed of the shards as a
share of that of one process. Shards of few files are uneven: the share of the larger one is told; 0.5 over it is the
best that two shards can do.
"""

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

PROGRAM = [sys.executable, "-c", "from embedpipe.commands import main; main()"]


def run(*commands: list[str]) -> tuple[float, float, list[Any]]:
    """Runs commands side by side; returns seconds of the clock and of the processor, and what they print."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    started = [subprocess.Popen([*PROGRAM, *c, "--json", "--quiet"], stdout=subprocess.PIPE) for c in commands]
    said = [json.loads(process.communicate()[0]) for process in started]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begin, spent, said


def main(
    documents: Annotated[list[Path], typer.Argument()],
    repeats: int = 3,
    workers: Annotated[int, typer.Option(help="Of one process; each shard has half of them.")] = 2,
) -> None:
    """Measures, and prints the table."""
    inputs, clock, spent, largest = list(map(str, documents)), {}, {}, 0.0
    pages = 0
    with tempfile.TemporaryDirectory(prefix="embedpipe-shards-") as folder:
        for _ in range(repeats):
            for name in ("one process", "two shards"):
                shutil.rmtree(folder)
                Path(folder).mkdir()
                if name == "one process":
                    own = run(["embed", *inputs, "--artifacts", f"{folder}/one", "--workers", str(workers)])
                    pages = own[2][0]["embedded"]
                else:
                    half = ["--workers", str(max(1, workers // 2))]
                    own = run(
                        *(
                            ["embed", *inputs, "--artifacts", f"{folder}/{n}", "--shard", f"{n}/2", *half]
                            for n in (1, 2)
                        )
                    )
                    largest = max(said["embedded"] for said in own[2]) / sum(said["embedded"] for said in own[2])
                    merged = run(["merge", f"{folder}/1", f"{folder}/2", "--into", f"{folder}/both"])
                    own = (own[0] + merged[0], own[1] + merged[1], own[2])
                clock.setdefault(name, []).append(own[0])
                spent.setdefault(name, []).append(own[1])
    print("| | seconds | processor seconds | pages/s |\n| --- | --- | --- | --- |")
    medians = {name: statistics.median(values) for name, values in clock.items()}
    for name, seconds in medians.items():
        print(f"| {name} | {seconds:.1f} | {statistics.median(spent[name]):.1f} | {pages / seconds:.1f} |")
    ratio = medians["one process"] / medians["two shards"]
    work = statistics.median(spent["one process"]) / statistics.median(spent["two shards"])
    print(
        f"\n{pages} pages, {repeats} times: two shards have {ratio:.2f} of the speed of one process ({work:.2f} by "
        f"processor time); the larger shard has {largest:.3f} of the pages"
    )


if __name__ == "__main__":
    typer.run(main)
