#!/usr/bin/env bash
# Surprise: watchfiles with `force_polling` (network folders, containers) compares times of change in whole seconds and looks
# at nothing else: a file that is written again within the same second, with another size, is never reported as changed, even
# when polled every 50 ms. A copy whose first block is seen and whose end comes in the same second stays a half file.
# Expected: a change of size, or of the time in nanoseconds, is reported, as it is without polling.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check watchfiles==1.3.0
venv/bin/python - <<'PYTHON'
import sys
import threading
import time
from pathlib import Path

import watchfiles


def reports(polling):
    """Number of reports of two writes within a second of the clock, half a second apart."""
    watched = Path("polled" if polling else "noticed")
    watched.mkdir()
    file, seen, stop = watched / "page.pdf", [], threading.Event()
    file.write_bytes(b"0")

    def watch():
        for changes in watchfiles.watch(watched, force_polling=polling, poll_delay_ms=50, debounce=100, step=20, stop_event=stop):
            seen.append(changes)

    thread = threading.Thread(target=watch)
    thread.start()
    time.sleep(2.2 - time.time() % 1)  # a fifth of a second after a full one
    times = []
    for size in (1000, 5000):
        file.write_bytes(b"x" * size)
        times.append(file.stat().st_mtime_ns)
        time.sleep(0.5)
    time.sleep(1.5)
    stop.set()
    thread.join()
    if times[0] == times[1] or times[0] // 10**9 != times[1] // 10**9:
        sys.exit("the writes are not within a second: run again")
    return len(seen)


print("watchfiles", watchfiles.__version__)
print("expected: both writes are reported, with and without polling")
without, polled = reports(polling=False), reports(polling=True)
print(f"observed: without polling {without} reports, polled {polled}")
if without >= 2 and polled == 1:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
