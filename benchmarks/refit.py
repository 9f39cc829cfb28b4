"""Measures 10,000 labelled pages: to fit and calibrate, to evaluate with the whole report, and to fit at the page.

The last is `POST /refit` of `serve`, from the question until the job is done.

    python benchmarks/refit.py ARTIFACTS

ARTIFACTS holds a store with labels; the pages are invented around the labelled ones, as `bench --at-scale` does it.
Learnt from are pictures alone, and all that a fit learns from by itself. Prints a Markdown table.
"""

import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from serving import Server

from embedpipe import Workspace
from embedpipe.classifiers.bundles import CLASSIFIERS, PICTURES
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.tasks import evaluate
from embedpipe.tasks.bench_at_scale import Real, invent

TIMES, PAUSE, LOADED = 3, 0.05, 5.0
"""Fits; seconds between two looks; and seconds that a person looks at what changed, while the next process loads."""


def refitted(server: Server, wish: dict[str, Any]) -> float:
    """Seconds of a fit that is asked of the server."""
    begin = time.perf_counter()
    asked = server.ask("refit", json.dumps(wish).encode(), {"Content-Type": "application/json"})
    while (job := server.ask(f"jobs/{asked['job']['job']}"))["state"] in {"queued", "running"}:
        time.sleep(PAUSE)
    if job["state"] != "done":
        raise SystemExit(job["message"])
    return time.perf_counter() - begin


def at_the_page(folder: Path, wish: dict[str, Any]) -> float:
    """Seconds of `POST /refit`, once the server has fitted and answered for all documents."""
    server = Server(folder)
    try:
        times = []
        for _ in range(TIMES + 1):
            times.append(refitted(server, wish))
            while server.ask("documents?limit=0")["answers"] == "pending":
                time.sleep(PAUSE)
            time.sleep(LOADED)
        return statistics.median(times[1:])
    finally:
        server.stop()


def main(
    artifacts: Annotated[Path, typer.Argument(help="A store with labels.")],
    rows: Annotated[int, typer.Option(help="Pages.")] = 10_000,
    classifiers: Annotated[str, typer.Option(help="Kinds, with commas.")] = ",".join(CLASSIFIERS),
) -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as folder:
        workspace, source = Workspace(Path(folder) / "artifacts"), Workspace(artifacts)
        invent(Real.of(source, source.store()), source.store(), workspace, rows)
        store = workspace.store()
        print("| learnt from | classifier | fitted and calibrated, s | evaluated, s | at the page, s |")
        print("| --- | --- | --- | --- | --- |")
        for blocks, kind in itertools.product(((PICTURES,), None), classifiers.split(",")):
            begin = time.perf_counter()
            bundle = fit(workspace, store, TrainingRecipe(kind, blocks=blocks))
            fitted = time.perf_counter()
            evaluate.write(workspace, bundle, evaluate.assess(workspace, store, bundle), Path(folder) / "r.html")
            end = time.perf_counter()
            page = at_the_page(workspace.root, {"kind": kind, "blocks": blocks or ()})
            told = ", ".join(bundle.fitted_on["blocks"])
            print(f"| {told} | {kind} | {fitted - begin:.1f} | {end - fitted:.1f} | {page:.1f} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
