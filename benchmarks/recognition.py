"""Measures recognition of text: how fast it is here, and what it adds where documents tell no words themselves.

    python benchmarks/recognition.py ARTIFACTS

ARTIFACTS holds labelled documents that were embedded with `--ocr auto`, whose files are where they were. Prints two
Markdown tables. Rates: on the same pages, for each runtime and number of workers; processor time of all workers, which
other programs on the machine change less than the time that passes. Quality: logistic regressions on features and on
words (TF-IDF) of the first pages of documents, and the sum of their log-probabilities, in folds by group; of documents
without text of their own, and of all; means over the seeds of the folds.
"""

import resource
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedpipe import Settings, Workspace
from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.core.records import OCR_WORDS, Document
from embedpipe.embedding.recognition import Recognised, recognise
from embedpipe.pages.extras.ocr import AUTO, RUNTIMES, Ocr, RapidOcr
from embedpipe.pages.rendering import Selection
from embedpipe.store.page_extras import WORDS, page_table, words_of

_FIRST_PAGES = Selection(((1, 2),))
_BUCKETS = 2**15
"""Of words: an eighth of those that are kept, for a regression on these takes minutes a fold."""


def rates(pages: dict[Document, list[int]], workers: list[int]) -> Iterator[str]:
    """Rows of the table of rates."""
    for runtime in filter(find_spec, RUNTIMES):
        for count in workers:
            counts, begin = Recognised(), time.perf_counter()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            settings = Settings(ocr=Ocr(AUTO, RapidOcr(runtime)), workers=count)
            for _ in recognise(pages, settings, counts):
                pass
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            rate = counts.pages / (time.perf_counter() - begin)
            yield f"| {runtime} | {count} | {counts.pages} | {rate:.2f} | {busy / counts.pages:.2f} s |"


def told(pages: LabelledPages, words: csr_array, seed: int) -> dict[str, NDArray[np.object_]]:
    """The type of each document, held out, from pictures, words, and both; "" where nothing is told."""
    folds = grouped_folds(pages, seed=seed)
    documents, owner = np.unique(pages.documents, return_inverse=True)
    has_words = np.diff(words.indptr) > 0
    found = {name: np.full(len(documents), "", object) for name in ("pictures", "words", "both")}
    for fold in np.unique(folds):
        learnt, kinds = folds != fold, np.unique(pages.y[folds != fold])
        pictures = make_pipeline(
            StandardScaler(), LogisticRegression(C=0.003, max_iter=100, tol=1e-3, class_weight="balanced")
        )
        told_words = make_pipeline(
            TfidfTransformer(sublinear_tf=True),
            LogisticRegression(C=10.0, max_iter=60, tol=1e-3, class_weight="balanced"),
        )
        weights = {"logisticregression__sample_weight": pages.weights[learnt]}
        pictures.fit(pages.X[learnt], pages.y[learnt], **weights)
        weights = {"logisticregression__sample_weight": pages.weights[learnt & has_words]}
        told_words.fit(words[np.flatnonzero(learnt & has_words)], pages.y[learnt & has_words], **weights)
        scores = {"pictures": np.zeros((len(documents), len(kinds))), "words": np.zeros((len(documents), len(kinds)))}
        columns = np.searchsorted(kinds, told_words.classes_)
        rows, worded = np.flatnonzero(~learnt), np.flatnonzero(~learnt & has_words)
        share = pages.weights / np.bincount(owner, pages.weights)[owner]
        np.add.at(scores["pictures"], owner[rows], pictures.predict_log_proba(pages.X[rows]) * share[rows, None])
        if len(worded):
            spread = np.full((len(worded), len(kinds)), -8.0)
            spread[:, columns] = told_words.predict_log_proba(words[worded])
            share = pages.weights / np.maximum(np.bincount(owner, pages.weights * has_words), 1e-9)[owner]
            np.add.at(scores["words"], owner[worded], spread * share[worded, None])
        scores["both"] = scores["pictures"] + scores["words"]
        held_out = np.unique(owner[rows])
        for name, values in scores.items():
            there = held_out if name != "words" else np.intersect1d(held_out, owner[worded])
            found[name][there] = kinds[values[there].argmax(axis=1)]
    return found


def quality(workspace: Workspace, seeds: int) -> Iterator[str]:
    """Rows of the table of quality."""
    store = workspace.store()
    pages = labelled_pages(workspace, store, _FIRST_PAGES)
    keys = list(zip(pages.documents, pages.page_indices.tolist(), strict=True))
    table = page_table(workspace.root, WORDS).read(keys, ["origin"])
    recognised = np.array([origin == OCR_WORDS for origin in table["origin"].to_pylist()])
    words = words_of(workspace.root, keys)
    words = csr_array((words.data, words.indices % _BUCKETS, words.indptr), shape=(len(keys), _BUCKETS))
    words.sum_duplicates()
    without = words.copy()
    without.data[np.repeat(recognised, np.diff(words.indptr))] = 0.0
    without.eliminate_zeros()
    documents, first = np.unique(pages.documents, return_index=True)
    y, read = pages.y[first], np.isin(documents, pages.documents[recognised])
    for title, used in (("recognised words as well", words), ("words of text alone", without)):
        answers = [told(pages, used, seed) for seed in range(seeds)]
        for whom, mask in (("without text of their own", read), ("all", np.ones(len(y), bool))):
            cells = []
            for name in ("pictures", "words", "both"):
                accuracy = np.mean([np.mean(found[name][mask] == y[mask]) for found in answers])
                macro = [
                    f1_score(y[mask], found[name][mask].astype(str), average="macro", labels=np.unique(y[mask]))
                    for found in answers
                ]
                cells.append(f"{accuracy:.3f}, {np.mean(macro):.3f}")
            yield f"| {title} | {whom} | {mask.sum()} | {' | '.join(cells)} |"


def main(
    artifacts: Path,
    max_pages_used: Annotated[int, typer.Option(help="Measure rates on so many pages; 0 for none.")] = 40,
    workers: Annotated[str, typer.Option(help="Numbers of workers.")] = "1,2",
    seeds: Annotated[int, typer.Option(help="Folds made in so many ways.")] = 3,
) -> None:
    """Prints both tables."""
    workspace = Workspace(artifacts)
    sources, table = workspace.sources(), page_table(artifacts, WORDS)
    keys = [(sha256, index) for sha256, indices in sorted(table.kept().items()) for index in sorted(indices)]
    origins = table.read(keys, ["origin"])["origin"].to_pylist()
    pages: dict[Document, list[int]] = {}
    for (sha256, index), origin in zip(keys, origins, strict=True):
        document = sources.document(sha256)
        if origin == OCR_WORDS and document is not None and sum(map(len, pages.values())) < max_pages_used:
            pages.setdefault(document, []).append(index)
    if pages:
        print("| runtime | workers | pages | pages/s | processor time a page |\n| --- | --- | --- | --- | --- |")
        for row in rates(pages, [int(count) for count in workers.split(",")]):
            print(row, flush=True)
    print("\n| learnt from | documents | | pictures: accuracy, macro-F1 | words | both |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in quality(workspace, seeds):
        print(row, flush=True)


if __name__ == "__main__":
    typer.run(main)
