"""Measures what a precision costs: agreement with full precision page by page, quality, and the network's speed.

    python benchmarks/precision.py DOCUMENTS --labels LABELS.csv

DOCUMENTS and LABELS.csv are those of recipes.py. Takes the first three pages of each document, on OpenVINO. *nearest*
is bf16 with each weight rounded to its nearest value instead of so that errors cancel. With nncf installed (`pip
install nncf`), int8 is tried as well: quantised after training on 120 of the pages, and run with a plan for each shape,
since OpenVINO crashed on it when shapes changed.
"""

import importlib.util
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from recipes import quality

from embedpipe import Recipe, Settings, Workspace
from embedpipe.backbones.building import find_backbone, load_network
from embedpipe.backbones.engines import Backbone, OpenVinoEngine, openvino_core
from embedpipe.backbones.layers import FeatureNetwork
from embedpipe.backbones.rounding import rounded_for_bfloat16
from embedpipe.backbones.runtime import available_cores, convert
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.core.records import DEFAULT_BACKBONE, Document, Identity, PageImage
from embedpipe.embedding.intake import Intake, Report
from embedpipe.pages.documents import ReadOptions
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels
from embedpipe.tasks.baselines import network_seconds

CALIBRATED, TIMED, ROUNDS, BATCH = 120, 300, 3, 16
WANTED = 0.999
PERCENTILES = (0, 1, 5, 50)


class FixedShapes:
    """An engine with a plan for batches of sixteen and one for single pages, for each shape."""

    name, device, precision, batch_size, in_flight = "openvino", "cpu", "int8", BATCH, 1

    def __init__(self, model: Any) -> None:
        self._model, self._requests = model, {}

    def start(self, pixels: NDArray[np.uint8]) -> Any:
        """All at once."""
        step = BATCH if len(pixels) == BATCH else 1
        X = np.concatenate([self._run(pixels[i : i + step]) for i in range(0, len(pixels), step)])
        return lambda: X

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        if pixels.shape not in self._requests:
            fixed = self._model.clone()
            fixed.reshape(list(pixels.shape))
            settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": available_cores()}
            self._requests[pixels.shape] = openvino_core().compile_model(fixed, "CPU", settings).create_infer_request()
        return np.array(self._requests[pixels.shape].infer([pixels])[0], np.float32)


def render(documents: Path, workspace: Workspace) -> list[PageImage]:
    """The first three pages of each document; blank ones are left out."""
    found = [d for d in Intake([str(documents)], Settings(), workspace.sources(), Report()) if isinstance(d, Document)]
    jobs = (Job(document, Selection(((1, 3),))) for document in found)
    with Renderer(ReadOptions(Recipe()), available_cores()) as renderer:
        pages = [page for rendered in renderer.render(jobs) for page in rendered.results]
    return [page for page in pages if isinstance(page, PageImage) and page.info.outcome != "blank"]


def engines(name: str, pages: list[PageImage]) -> tuple[list[tuple[str, int, int]], dict[str, Any]]:
    """A network in every precision."""
    preprocessing = find_backbone(name).preprocessing()
    network = load_network(name, None)
    features = FeatureNetwork(network, preprocessing.mean, preprocessing.std, Recipe().layers)
    model = convert(features)
    rounded = rounded_for_bfloat16(model, features.example().shape[1])
    found: dict[str, Any] = {
        "fp32": OpenVinoEngine(lambda: model, "fp32", available_cores()),
        "bf16": OpenVinoEngine(lambda: rounded, "bf16", available_cores()),
        "bf16, nearest": OpenVinoEngine(lambda: model, "bf16", available_cores()),
        "fp16": OpenVinoEngine(lambda: model, "fp16", available_cores()),
    }
    if importlib.util.find_spec("nncf"):
        import nncf  # noqa: PLC0415 - only where somebody wants to try it

        some = np.random.default_rng(0).permutation(len(pages))[:CALIBRATED]
        sample = nncf.Dataset([pages[i].pixels[None] for i in some])
        preset = nncf.QuantizationPreset.MIXED
        found["int8"] = FixedShapes(nncf.quantize(model, sample, preset=preset, subset_size=CALIBRATED))
    return features.blocks, found


def embed(backbone: Backbone, pages: list[PageImage]) -> NDArray[np.float32]:
    """Features of the pages, in batches of one shape."""
    shapes: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, page in enumerate(pages):
        shapes[page.pixels.shape].append(number)
    X = np.empty((len(pages), backbone.dim), np.float32)
    for numbers in shapes.values():
        for start in range(0, len(numbers), BATCH):
            batch = numbers[start : start + BATCH]
            X[batch] = backbone(np.stack([pages[i].pixels for i in batch]))
    return X


def labelled(pages: list[PageImage], X: NDArray[np.float32], labels: Labels) -> LabelledPages:
    """The pages that have labels, with features as the store would hold them."""
    refs = [page.info.ref for page in pages]
    table = pd.DataFrame(
        {"document_sha256": [r.document_sha256 for r in refs], "page_index": [r.page_index for r in refs]}
    )
    known = labels.of_pages(table)
    has = known["label"].notna().to_numpy()
    return LabelledPages(
        page_ids=np.flatnonzero(has),
        X=X[has].astype(np.float16).astype(np.float32),
        y=known["label"][has].to_numpy(object),
        documents=table["document_sha256"][has].to_numpy(object),
        groups=known["group"][has].to_numpy(object),
        page_indices=table["page_index"][has].to_numpy(np.int64),
    )


def main(
    documents: Annotated[Path, typer.Argument(help="A folder with a folder for each type.")],
    labels: Annotated[Path, typer.Option(help="A CSV with the columns path,label,group.")],
    backbone: Annotated[str, typer.Option(help="The network.")] = DEFAULT_BACKBONE,
    seeds: Annotated[int, typer.Option(help="Splits to average over.")] = 3,
) -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(folder)
        pages = render(documents, workspace)
        truth = Labels.from_csv(labels, workspace.sources().sha256_at)
        blocks, found = engines(backbone, pages)
        identity = Identity(backbone, "", Recipe(), tuple(name for name, _, _ in blocks))
        store = FeatureStore.create(Path(folder) / "store", identity, blocks)  # tells the classifiers the blocks
        backbones = {key: Backbone(identity, blocks, engine) for key, engine in found.items()}
        features = {key: embed(backbone, pages) for key, backbone in backbones.items()}
        few = [page.pixels for page in pages[:TIMED]]
        rates = [{k: len(few) / network_seconds(b, few, BATCH) for k, b in backbones.items()} for _ in range(ROUNDS)]
        print(f"{len(pages)} pages; cosine with fp32: percentiles {PERCENTILES}; share of pages below 0.999")
        print("| precision | cosine | below 0.999 | SVM macro-F1 | network, pages/s |")
        print("| --- | --- | --- | --- | --- |")
        for key, X in features.items():
            full = features["fp32"]
            cosines = (X * full).sum(1) / np.linalg.norm(X, axis=1) / np.linalg.norm(full, axis=1)
            shown = ", ".join(f"{value:.4f}" for value in np.percentile(cosines, PERCENTILES))
            f1 = quality(store, labelled(pages, X, truth), "svm", seeds)["svm macro-F1"]
            rate = statistics.median(each[key] for each in rates)
            print(f"| {key} | {shown} | {np.mean(cosines < WANTED):.1%} | {f1} | {rate:.0f} |")


if __name__ == "__main__":
    typer.run(main)
