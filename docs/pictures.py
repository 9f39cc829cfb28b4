"""Draws the pictures of the documentation again: `python docs/pictures.py`; Chromium is needed for the map.

The documents are those that `embedpipe demo` draws, so the pictures show what a user sees after the set-up.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, QUALITY = 1200, 75
SHOWN = "invoice"  # the type of the page that is shown
POLICY = r'<meta http-equiv="Content-Security-Policy"[^>]*>'


def run(folder: Path, *arguments: str | Path) -> None:
    """Runs a command of embedpipe on the artifacts of the folder."""
    program = [sys.executable, str(DOCS.parent / "cli.py"), *map(str, arguments)]
    subprocess.run([*program, "--artifacts", str(folder / "artifacts")], check=True, cwd=folder)


def with_a_page_shown(html: str) -> str:
    """The map with the mouse over the first page of the type; its policy would stop the script that moves it there."""
    [content] = re.findall(r'<script[^>]*id="content"[^>]*>(.*?)</script>', html, re.DOTALL)
    values = json.loads(content)
    page = values["points"]["type"].index(values["types"].index(SHOWN))
    over = f'<script>addEventListener("load", () => hover({page}, toX({page}), toY({page})))</script>'
    return re.sub(POLICY, "", html).replace("</body>", f"{over}</body>")


def photograph(page: Path, file: Path, size: tuple[int, int]) -> None:
    """What a browser without a window shows of an HTML file."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"no browser: install one of {', '.join(BROWSERS)}")
    options = ("--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu", f"--window-size={size[0]},{size[1]}")
    subprocess.run([browser, *options, f"--screenshot={file}", page.as_uri()], check=True, capture_output=True)


def save(file: Path, name: str) -> None:
    """Keeps a picture small."""
    picture = Image.open(file).convert("RGB")
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    target = IMAGES / name
    picture.save(target, quality=QUALITY, method=6)
    print(f"{target}: {target.stat().st_size // 1000} kB")


def main() -> None:
    """Runs the demo in a folder that is removed afterwards, and draws all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, "demo", "--folder", "demo")
        run(folder, "map", "--output", "map.html")
        (folder / "shown.html").write_text(with_a_page_shown((folder / "map.html").read_text(encoding="utf-8")))
        photograph(folder / "shown.html", folder / "map.png", (WIDTH, 640))
        save(folder / "map.png", "map.webp")
        query = min((folder / "demo" / "new" / SHOWN).iterdir())
        run(folder, "similar", f"{query}#page=1", "--other-documents", "-k", "8", "--contact-sheet", "similar.png")
        save(folder / "similar.png", "similar.webp")


if __name__ == "__main__":
    main()
