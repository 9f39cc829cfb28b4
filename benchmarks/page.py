"""Measures the page of `serve` in Chromium, drawn without a graphics card: heap, map and queue.

    python benchmarks/page.py ARTIFACTS --decisions 200

ARTIFACTS hold documents and, for the queue, a classifier; they are copied. Measured are the time until the heap shows
its first tiles, and blank tiles while it scrolls; the frames of the map while it is moved and zoomed, and how long one
takes to draw; and in the queue the time from a key until the next page is there. Prints a Markdown table. Needs the
package playwright, and a Chromium on the PATH.
"""

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from markdown_tables import head, row
from playwright.sync_api import Page, sync_playwright
from serving import Server

WAIT = 300_000
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
SIZE = {"width": 1280, "height": 800}
SCROLL = """async (steps) => {
    const grid = document.querySelector(".grid"), area = () => grid.getBoundingClientRect();
    let blank = 0;
    for (let step = 1; step <= steps; step++) {
        grid.scrollTop = ((grid.scrollHeight - grid.clientHeight) * step) / steps;
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        const tiles = [...grid.querySelectorAll(".tile")].map((tile) => tile.getBoundingClientRect());
        const { top, bottom } = area(), reached = Math.max(...tiles.map((tile) => tile.bottom));
        const begun = Math.min(...tiles.map((tile) => tile.top)), height = tiles[0]?.height || 0;
        if (!height || begun > top + height / 4 || (step < steps && reached < bottom - height / 4)) blank++;
    }
    return blank;
}"""
"""Goes from the start of the heap to its end, and says how often tiles did not fill the window, two frames later."""

MOVES = """async (steps) => {
    const { scatter } = document.querySelector("canvas"), frames = [], draws = [];
    const one = scatter.draw.bind(scatter);
    scatter.draw = () => { const start = performance.now(); one(); draws.push(performance.now() - start); };
    let last = await new Promise(requestAnimationFrame);
    for (let step = 0; step < steps; step++) {
        if (step % 3) scatter.pan(step % 2 ? 9 : -9, step % 2 ? 4 : -4);
        else scatter.zoom(step % 2 ? 1.15 : 1 / 1.15);
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - last);
        last = now;
    }
    scatter.draw = one;
    return [frames, draws];
}"""
"""Moves and zooms the map, and says how many milliseconds were between frames, and how many each took to draw."""

DECISION = """async (key) => {
    const shown = () => document.querySelector(".queue")?.dataset.document, before = shown(), start = performance.now();
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    while (performance.now() - start < 10000) {
        const image = document.querySelector(".queue .big img");
        if (shown() !== before && image?.complete && image.naturalWidth && image.src.includes(shown())) break;
        await new Promise((done) => setTimeout(done, 1));
    }
    return performance.now() - start;
}"""
"""Presses a key in the queue, and says after how many milliseconds the next page is there."""


def told(name: str, times: list[float]) -> None:
    """A row of the table."""
    ranked = sorted(times)
    row(name, len(times), statistics.median(times), ranked[int(0.95 * (len(ranked) - 1))], ranked[-1])


def heap(page: Page, address: str) -> None:
    """Opens the heap and scrolls it."""
    begin = time.perf_counter()
    page.goto(f"{address}#/heap")
    page.wait_for_selector(".tile")
    told("the heap is there", [1000 * (time.perf_counter() - begin)])
    print(f"<!-- after {page.evaluate(SCROLL, 200)} of 200 steps through the heap tiles did not fill the window -->")


def moved_map(page: Page, address: str) -> None:
    """Opens the map and moves it."""
    page.goto(f"{address}#/map")
    page.wait_for_selector(".legend button", timeout=WAIT)
    page.wait_for_function("() => document.querySelector('canvas')?.scatter?.marks", timeout=WAIT)
    points = page.evaluate("document.querySelector('canvas').scatter.count")
    frames, draws = page.evaluate(MOVES, 240)
    told(f"between frames of the map of {points} documents", frames)
    told("a frame to draw", draws)


def queue(page: Page, address: str, decisions: int, pause: int) -> None:
    """Decides what the queue asks, with a pause after each page as people take at least."""
    page.goto(f"{address}#/queue")
    page.wait_for_selector(".queue .big img", timeout=WAIT)
    page.wait_for_timeout(2000)
    times: list[float] = []
    for _ in range(decisions):
        times.append(float(page.evaluate(DECISION, " ")))
        page.wait_for_timeout(pause)
    told("from a key to the next page of the queue", times)


def main(
    artifacts: Annotated[Path, typer.Argument(help="Documents.")],
    decisions: Annotated[int, typer.Option(help="In the queue; 0 for artifacts without a classifier.")] = 200,
    pause: Annotated[int, typer.Option(help="Milliseconds between two decisions.")] = 300,
) -> None:
    """Measures the page."""
    with tempfile.TemporaryDirectory(prefix="embedpipe-page-") as folder, sync_playwright() as driver:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=program, args=OPTIONS)
        server = Server(Path(shutil.copytree(artifacts, Path(folder) / "artifacts")))
        shown: Any = SIZE
        try:
            while server.ask("documents?limit=0")["answers"] == "pending":
                time.sleep(0.5)
            head("milliseconds", "times", "median", "of 95 %", "most")
            for work in (heap, moved_map):
                work(browser.new_page(viewport=shown), server.address)
            if decisions:
                queue(browser.new_page(viewport=shown), server.address, decisions, pause)
        finally:
            browser.close()
            server.stop()


if __name__ == "__main__":
    typer.run(main)
