#!/usr/bin/env bash
# Surprise: IndexShards of FAISS with successive ids numbers its answers over all shards, but a filter of ids (`sel`) is
# asked with the number within each shard: a filter for rows 0 to 99 also lets 1000 to 1099 through, which are the first
# of the second shard, and a filter for row 1500 finds nothing.
# Expected: the filter means the ids that the search answers with, as it does for one index (and for IndexIDMap).
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
shards = faiss.IndexShards(32, False, True)  # not threaded, successive ids
parts = [faiss.IndexFlatL2(32) for _ in range(2)]
for number, part in enumerate(parts):
    part.add(rows[1000 * number : 1000 * (number + 1)])
    shards.add_shard(part)


def answers(first, end):
    """Ids that are found for row 1500 among the ids from ``first`` on, before ``end``."""
    selector = faiss.IDSelectorBatch(np.arange(first, end))
    _, found = shards.search(rows[1500:1501], 50, params=faiss.SearchParameters(sel=selector))
    return found[found >= 0]


print("faiss", faiss.__version__)
_, unfiltered = shards.search(rows[1500:1501], 1)
print("without a filter, row 1500 finds id", int(unfiltered[0, 0]))
hundred, one = answers(0, 100), answers(1500, 1501)
print("expected: ids 0 to 99 only; then id 1500")
print(f"observed: filter 0 to 99: {int((hundred >= 1000).sum())} of {len(hundred)} answers have ids from 1000 on")
print(f"observed: filter 1500: {one.tolist()}")
if unfiltered[0, 0] == 1500 and (hundred >= 1000).any() and ((hundred < 100) | ((hundred >= 1000) & (hundred < 1100))).all() and not len(one):
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
