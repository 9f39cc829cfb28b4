"""`export`: a classifier for other programs; `store.feature_tables` writes features."""

from pathlib import Path

import joblib

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.parts import CombinedClassifier
from embedpipe.core.outputs import TRAILER, written

_COMPRESSED = {".z": "zlib", ".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".lzma": "lzma"}
"""As joblib derives it from the name of a file."""


def export_joblib(bundle: ClassifierBundle, file: Path) -> None:
    """Writes the fitted scikit-learn pipeline as a joblib pickle, for other programs; embedpipe never loads one.

    A classifier of several parts, or of some blocks only, becomes a `CombinedClassifier`, which takes words as well,
    and all pages of documents for those that judge documents.
    """
    parts = bundle.parts
    alone = parts.fusion is None and parts.document is None and not parts.columns
    estimator = bundle.pipeline if alone else CombinedClassifier(bundle.pipeline, parts, bundle.classes)
    compress = _COMPRESSED.get(file.suffix)
    with written(file) as temporary:
        joblib.dump(estimator, temporary, compress=(compress, 3) if compress else 0)
        if not compress:
            with open(temporary, "ab") as content:
                content.write(TRAILER)
