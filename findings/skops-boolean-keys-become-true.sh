#!/usr/bin/env bash
# Surprise: skops saves and loads a dictionary whose keys are booleans without an error, and all its keys come back as True: of
# {False: 10, True: 1} only {True: 1} is left. Keys are written as the names of a JSON object, and "false" is read back with
# bool("false"), which is True. So a classifier of yes and no with class weights answers as before once it is loaded, and learns
# something else when it is fitted again.
# Expected: the dictionary that was saved, as with numbers and strings for keys, or an error, as for keys that are tuples.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check skops==0.16.0 scikit-learn==1.9.1 numpy
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import sklearn
import skops
from skops.io import dumps, loads
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

print("skops", skops.__version__, "scikit-learn", sklearn.__version__)
seen = []
for keys in ((0, 1), ("no", "yes"), (False, True), (np.False_, np.True_)):
    saved = dict(zip(keys, (10, 1), strict=True))
    loaded = loads(dumps(saved))
    seen.append(loaded == saved)
    print(f"expected {saved}, observed {loaded}")
only_false = loads(dumps({False: 10}))
print(f"expected {{False: 10}}, observed {only_false}")

random = np.random.default_rng(0)
pages = random.normal(size=(500, 3))
wanted = pages[:, 0] + random.normal(size=500) > 0
model = LogisticRegression(class_weight={False: 10, True: 1}).fit(pages, wanted)
loaded = loads(dumps(model))
answers = [int(a.predict(pages).sum()) for a in (model, loaded, clone(model).fit(pages, wanted), clone(loaded).fit(pages, wanted))]
print("expected: the same number of pages answered with yes, saved and loaded, and fitted again")
print(f"observed: {answers[0]} and {answers[1]}, fitted again {answers[2]} and {answers[3]}, class_weight {loaded.class_weight}")
lost = loaded.class_weight == {True: 1} and only_false == {True: 10}
if seen == [True, True, False, False] and lost and answers[0] == answers[1] == answers[2] < answers[3]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
