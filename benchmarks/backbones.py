"""Speeds of several networks side by side, as far as a machine that others use as well can tell them.

    python benchmarks/backbones.py DOCUMENTS --backbones efficientnet_lite0,efficientnet_lite1,efficientnet_lite2

The networks take turns on the same first pages, for several rounds, so that a busy moment hits all alike; of each the
fastest round counts, and the processor time of the median round, which others disturb less. Prints a Markdown table;
ratios are to the first network.
"""

import statistics
import time
from typing import Annotated

import typer

from embedpipe import load_backbone
from embedpipe.backbones.engines import EngineChoice
from embedpipe.core.records import Document
from embedpipe.embedding.streaming import render_pages
from embedpipe.pages.documents import Limits, ReadOptions
from embedpipe.pages.walking import FoundFile, identify, walk
from embedpipe.tasks.baselines import network_seconds
from embedpipe.tasks.compare import SPEED_PAGES


def main(
    documents: str,
    backbones: Annotated[str, typer.Option(help="Names, separated by commas.")],
    rounds: int = 9,
    precision: str = "auto",
) -> None:
    """Prints the table."""
    found = [identify(item, Limits()) for item in walk([documents]) if isinstance(item, FoundFile)]
    pages = [item for item in found if isinstance(item, Document)]
    wanted = [(document, 0) for document in pages[:: max(1, len(pages) // SPEED_PAGES)][:SPEED_PAGES]]
    networks = {name: load_backbone(name, choice=EngineChoice(precision=precision)) for name in backbones.split(",")}
    wall: dict[str, list[float]] = {name: [] for name in networks}
    processor: dict[str, list[float]] = {name: [] for name in networks}
    pixels = {}
    for name, network in networks.items():
        options = ReadOptions(network.identity.recipe, network.identity.interpolation)
        pixels[name] = list(render_pages(wanted, options=options).values())
    for _ in range(rounds):
        for name, network in networks.items():
            begin = time.process_time()
            wall[name].append(network_seconds(network, pixels[name], network.engine.batch_size))
            processor[name].append(time.process_time() - begin)
    print("| network | precision | pages/s, fastest round | ratio | ratio of processor time |")
    print("| --- | --- | --- | --- | --- |")
    first = next(iter(networks))
    for name, network in networks.items():
        rate = len(pixels[name]) / min(wall[name])
        ratio = min(wall[first]) / min(wall[name])
        cost = statistics.median(processor[first]) / statistics.median(processor[name])
        print(f"| {name} | {network.engine.precision} | {rate:.0f} | {ratio:.2f} | {cost:.2f} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
