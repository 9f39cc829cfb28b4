#!/usr/bin/env bash
# Surprise: IndexIDMap of FAISS translates a filter of ids (`sel`) to its rows only where it stands in the outermost search
# parameters. Around IndexRefineFlat or IndexPreTransform the filter has to stand in the inner parameters to count at all,
# and there it is taken as numbers of rows: the ids that the index answers with, given as the filter, find nothing.
# Expected: the filter means the caller's ids, as it does around any other index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check faiss-cpu==1.15.1 numpy
venv/bin/python - <<'PYTHON'
import sys

import faiss
import numpy as np

rows = np.random.default_rng(0).standard_normal((2000, 32), dtype=np.float32)
ids = np.arange(2000) + 5000


def found(spec, wrap, selector):
    """How many of 10 neighbours of the first row are found under the filter, and whether all have ids from 5000 on."""
    index = faiss.index_factory(32, spec)
    index.train(rows)
    index.add_with_ids(rows, ids)
    _, answers = index.search(rows[:1], 10, params=wrap(faiss.SearchParameters(sel=selector)))
    return int((answers >= 5000).sum())


by_id, by_row = faiss.IDSelectorBatch(ids[:100]), faiss.IDSelectorBatch(np.arange(100))
plain = ("IDMap,SQ8", lambda inner: inner)
refine = ("IDMap,SQ8,RFlat", lambda inner: faiss.IndexRefineSearchParameters(base_index_params=inner, k_factor=4))
reduced = ("IDMap,PCA16,Flat", lambda inner: faiss.SearchParametersPreTransform(index_params=inner))
print("faiss", faiss.__version__)
print("expected: 10 neighbours under a filter of 100 ids, and 0 under a filter of their row numbers")
seen = []
for spec, wrap in (plain, refine, reduced):
    seen.append((found(spec, wrap, by_id), found(spec, wrap, by_row)))
    print(f"observed: {spec}: filter by ids {seen[-1][0]}, filter by row numbers {seen[-1][1]}")
if seen == [(10, 0), (0, 10), (0, 10)]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
