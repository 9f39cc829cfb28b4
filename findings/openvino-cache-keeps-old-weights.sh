#!/usr/bin/env bash
# Surprise: with CACHE_DIR, OpenVINO answers with the weights of a network that is no longer there. What it compiled is found
# again by the path, size and time of the .xml file, in whole seconds; the .bin file, which holds the weights, is not looked at.
# So new weights that are put beside the same .xml are never used, nor a network of the same form that is saved twice in a
# second.
# Expected: what the files hold now, as without CACHE_DIR.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check openvino==2026.4.1 numpy
venv/bin/python - <<'PYTHON'
import os
import shutil
import sys
import time

import numpy as np
import openvino as ov
from openvino import opset13 as ops


def save(name, weight):
    """A network of one number, which is multiplied by `weight`."""
    number = ops.parameter([1, 1], np.float32, name="number")
    factor = ops.constant(np.full((1, 1), weight, np.float32), name="factor")
    ov.save_model(ov.Model([ops.matmul(number, factor, False, False)], [number], "product"), name, compress_to_fp16=False)


def answer(name, settings):
    """The network's answer to 1, compiled anew, and whether it came from the cache."""
    compiled = ov.Core().compile_model(name, "CPU", settings)
    return float(compiled(np.ones((1, 1), np.float32))[0][0, 0]), compiled.get_property("LOADED_FROM_CACHE")


def both(name):
    """Answers without and with a cache."""
    return answer(name, {})[0], *answer(name, {"CACHE_DIR": "cache"})


print("OpenVINO", ov.__version__)
seen = []
save("net.xml", 2)
seen.append(both("net.xml"))
time.sleep(2)
save("other.xml", 3)
shutil.copyfile("other.bin", "net.bin")  # as when weights are trained further
seen.append(both("net.xml"))

second = int(time.time())
for part, weight in ((0.1, 5), (0.9, 7)):
    save("again.xml", weight)
    for file in ("again.xml", "again.bin"):
        os.utime(file, ns=(int((second + part) * 1e9),) * 2)
    seen.append(both("again.xml"))
cases = ("saved", "new .bin", "saved", "saved again in the same second")
for case, (plain, cached, loaded) in zip(cases, seen, strict=True):
    print(f"{case}: expected {plain:g} (without CACHE_DIR); observed {cached:g}, from the cache: {loaded}")
if seen == [(2, 2, False), (3, 2, True), (5, 5, False), (7, 5, True)]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
