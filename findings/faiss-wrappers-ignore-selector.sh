#!/usr/bin/env bash
# Surprise: FAISS takes a filter of ids (`sel`) in the search parameters of IndexRefineFlat and of IndexPreTransform, says
# nothing, and answers with rows that the filter excludes. Only a `sel` in the parameters of the inner index counts.
# Expected: the filter holds, or an error as other indexes give for parameters that they do not use ("search params not
# supported for this index").
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
first_hundred = faiss.IDSelectorRange(0, 100)
inner = faiss.SearchParameters(sel=first_hundred)


def outside(spec, parameters):
    """How many of 200 answers the filter excludes."""
    index = faiss.index_factory(32, spec)
    index.train(rows)
    index.add(rows)
    _, found = index.search(rows[:20], 10, params=parameters)
    return int((found >= 100).sum())


print("faiss", faiss.__version__)
print("expected: 0 of 200 answers outside of the first hundred rows")
seen = {
    "SQ8,RFlat with sel": outside("SQ8,RFlat", faiss.IndexRefineSearchParameters(sel=first_hundred, k_factor=4)),
    "SQ8,RFlat with sel inside": outside("SQ8,RFlat", faiss.IndexRefineSearchParameters(base_index_params=inner, k_factor=4)),
    "PCA16,Flat with sel": outside("PCA16,Flat", faiss.SearchParametersPreTransform(sel=first_hundred)),
    "PCA16,Flat with sel inside": outside("PCA16,Flat", faiss.SearchParametersPreTransform(index_params=inner)),
}
for name, count in seen.items():
    print(f"observed: {name}: {count} of 200 answers outside")
ignored = [count > 0 for name, count in seen.items()]
if ignored == [True, False, True, False]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
