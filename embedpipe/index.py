"""A FAISS index with its own page ids: a cache of the feature store that can always be built again."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from embedpipe.errors import ArtifactError, SpaceMismatchError
from embedpipe.features import FeatureStore
from embedpipe.files import read_json, replacing, sha256_of, write_json
from embedpipe.records import Identity
from embedpipe.scaling import BlockScaler

_INDEX = "faiss.index"
_ARRAYS = "pages.npz"
_MANIFEST = "manifest.json"
_SCALING_ROWS = 20_000
"""Rows that the scaling is learnt from: means of more would be the same."""


@dataclass(slots=True)
class PageIndex:
    """Nearest pages by cosine of the scaled features, by exact search.

    Attributes:
        identity: The space.
        parts: The parts of the store that it holds, as (name, SHA-256).
        page_ids: The page of each row of the FAISS index, (n,).
        scaler: Fitted; queries go through it as the pages did.
        faiss_index: Rows in the order of `page_ids`.
    """

    identity: Identity
    parts: list[tuple[str, str]]
    page_ids: NDArray[np.int64]
    scaler: BlockScaler
    faiss_index: Any

    @classmethod
    def build(cls, store: FeatureStore) -> "PageIndex":
        """Builds an index over a snapshot of a store.

        Raises:
            ArtifactError: The store is empty.
        """
        scaler = BlockScaler([(start, stop) for _, start, stop in store.blocks])
        sample: list[NDArray[np.float32]] = []
        for _, X in store.batches():
            sample.append(X)
            if sum(map(len, sample)) >= _SCALING_ROWS:
                break
        if not sample:
            raise ArtifactError(f"no pages in {store.path}: run `embed` on your documents first")
        scaler.fit(np.concatenate(sample)[:_SCALING_ROWS])
        flat = faiss.IndexFlatIP(store.dim)
        page_ids = []
        for ids, X in store.batches():
            flat.add(_unit(scaler, X))
            page_ids.append(ids)
        return cls(store.identity, _parts(store), np.concatenate(page_ids), scaler, flat)

    def search(
        self, X: NDArray[np.float32], k: int, *, allowed: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k nearest pages of each query.

        Args:
            X: Features as the store holds them, float32 (n, dim).
            k: How many; fewer where the index holds fewer.
            allowed: Ids of the only pages to look among, int64; None for all. Ids that it does not hold are ignored.

        Returns:
            Cosines, best first, and page ids, both (n, k).
        """
        if allowed is None:
            cosines, rows = self.faiss_index.search(_unit(self.scaler, X), min(k, len(self.page_ids)))
            return cosines, self.page_ids[rows]
        among = np.isin(self.page_ids, allowed)
        selector = faiss.IDSelectorBitmap(np.packbits(among, bitorder="little"))
        parameters = faiss.SearchParameters(sel=selector)
        wanted = min(k, int(among.sum()))
        if not wanted:
            return np.empty((len(X), 0), np.float32), np.empty((len(X), 0), np.int64)
        cosines, rows = self.faiss_index.search(_unit(self.scaler, X), wanted, params=parameters)
        return cosines, self.page_ids[rows]

    def range_search(
        self, X: NDArray[np.float32], threshold: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        """All pages whose cosine with a query is at least a threshold.

        Args:
            X: Features as the store holds them, float32 (n, dim); some thousand at a time bound the memory.
            threshold: The least cosine.

        Returns:
            Limits (n + 1,), cosines and page ids, both (limits[-1],): those of query i, best first, are at
            `limits[i]:limits[i + 1]`.
        """
        # FAISS takes what is above the threshold, not what is at it
        limits, cosines, rows = self.faiss_index.range_search(_unit(self.scaler, X), _just_below(threshold))
        limits = limits.astype(np.int64)
        queries = np.repeat(np.arange(len(X)), np.diff(limits))
        order = np.lexsort((-cosines, queries))
        return limits, cosines[order], self.page_ids[rows[order]]

    def unit(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features as the index compares them: scaled, of unit length, so that inner products are cosines, (n, dim)."""
        return _unit(self.scaler, X)

    def is_of(self, store: FeatureStore) -> bool:
        """Whether the index holds exactly this snapshot."""
        return self.identity == store.identity and self.parts == _parts(store)

    def save(self, folder: Path) -> None:
        """Writes index, ids and manifest; the manifest comes last and holds the others' hashes."""
        with replacing(folder / _INDEX) as temporary:
            try:
                faiss.write_index(self.faiss_index, str(temporary))
            except RuntimeError as error:
                raise ArtifactError(f"cannot write {folder / _INDEX}: {str(error).partition(chr(10))[0]}") from error
        with replacing(folder / _ARRAYS) as temporary, open(temporary, "wb") as file:
            np.savez(file, page_ids=self.page_ids, mean=self.scaler.mean_, scale=self.scaler.scale_)
        write_json(
            folder / _MANIFEST,
            {
                "identity": self.identity.to_json(),
                "space": self.identity.space,
                "factory": "Flat",
                "metric": "cosine",
                "recall": 1.0,
                "pages": len(self.page_ids),
                "blocks": self.scaler.blocks,
                "parts": self.parts,
                "sha256": {name: sha256_of(folder / name) for name in (_INDEX, _ARRAYS)},
            },
        )

    @classmethod
    def load(cls, folder: Path, identity: Identity) -> "PageIndex":
        """Reads an index after comparing its hashes.

        Raises:
            ArtifactError: It is missing or damaged.
            SpaceMismatchError: It belongs to another space.
        """
        manifest = read_json(folder / _MANIFEST)
        try:
            found = Identity.from_json(manifest["identity"])
            if found != identity:
                raise SpaceMismatchError(f"the index {folder}", found, identity)
            problems = verify(folder, manifest)
            if problems:
                raise ArtifactError(problems[0])
            return cls._read(folder, manifest, identity)
        except (LookupError, OSError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                f"{folder} is damaged ({type(error).__name__}); it is built again when needed"
            ) from error

    @classmethod
    def _read(cls, folder: Path, manifest: dict[str, Any], identity: Identity) -> "PageIndex":
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            page_ids, mean, scale = arrays["page_ids"], arrays["mean"], arrays["scale"]
        scaler = BlockScaler([(int(start), int(stop)) for start, stop in manifest["blocks"]])
        scaler.mean_, scaler.scale_, scaler.n_features_in_ = mean, scale, len(mean)
        parts = [(str(name), str(digest)) for name, digest in manifest["parts"]]
        return cls(identity, parts, page_ids, scaler, faiss.read_index(str(folder / _INDEX)))


def fresh_index(store: FeatureStore, folder: Path) -> PageIndex:
    """The saved index if it holds this snapshot of the store, else a new one, which is saved where that is allowed."""
    with contextlib.suppress(
        ArtifactError, SpaceMismatchError, LookupError, OSError, RuntimeError, TypeError, ValueError
    ):
        index = PageIndex.load(folder, store.identity)
        if index.is_of(store):
            return index
    index = PageIndex.build(store)
    with contextlib.suppress(ArtifactError):  # a read-only folder: the index is only a cache
        index.save(folder)
    return index


def verify(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Compares an index's files with its manifest; returns what is wrong, a line each."""
    problems = []
    for name, expected in manifest.get("sha256", {}).items():
        file = folder / name
        if not file.exists():
            problems.append(f"{file}: missing; it is built again when needed")
        elif sha256_of(file) != expected:
            problems.append(f"{file}: damaged; it is built again when needed")
    return problems


def _parts(store: FeatureStore) -> list[tuple[str, str]]:
    return [(part.name, part.sha256) for part in store.parts]


def _unit(scaler: BlockScaler, X: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled = scaler.transform(X)
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.ascontiguousarray(scaled / np.maximum(lengths, 1e-12), dtype=np.float32)


def _just_below(threshold: float) -> float:
    return float(np.nextafter(np.float32(threshold), np.float32(-2)))
