"""The map as an HTML file."""

import base64
import csv
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedpipe.core.display import text_to_path
from embedpipe.core.records import PageRef
from embedpipe.drawing.scatterplots import Point, write_scatterplot


class Page(HTMLParser):
    """What a browser makes of a file: its tags, its attributes, and the texts of its scripts."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Notes a tag."""
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data: str) -> None:
        """Notes what is in a script."""
        if self.tags and self.tags[-1] == "script" and data.strip():
            self.scripts.append(data)

    @property
    def content(self) -> Any:
        """The data of the map."""
        return json.loads(self.scripts[0])


def point(source: str, label: str | None = "form", thumbnail: bytes | None = None, page: int = 0) -> Point:
    """A page of a file."""
    return Point(
        PageRef(hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest(), page, source),
        3,
        label,
        thumbnail,
    )


def test_hostile_names_do_nothing(tmp_path: Path) -> None:
    """Names and types that are HTML, scripts, or no text at all add no tag, and come back as text."""
    hostile = "/pile/</script><img src=x onerror=alert(1)>\u202e\udcff.pdf"
    points = [point(hostile, "<b onclick=alert(1)>\n"), point("/pile/\"&'中文 #1?.pdf", "发票", b"\xff\xd8")]
    file = tmp_path / "map.html"
    write_scatterplot(file, points, np.eye(2, dtype=np.float32), title="T", facts={"</dl><i>": "<u>"}, notes=["<s>"])
    page = Page(file)
    assert not {"img", "b", "i", "u", "s"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    first, second = page.content["documents"]
    assert first["name"] == "script><img src=x onerror=alert(1)>\ufffd\ufffd.pdf"
    assert first["address"].startswith("file:///pile/%3C/script%3E%3Cimg%20src%3Dx")
    assert first["address"].endswith("%FF.pdf")
    assert (second["name"], second["folder"]) == ("\"&'中文 #1?.pdf", "/pile")
    assert second["address"] == "file:///pile/%22%26%27%E4%B8%AD%E6%96%87%20%231%3F.pdf"
    assert page.content["types"] == ["<b onclick=alert(1)>\ufffd", "发票"]
    assert page.content["thumbnails"] == {"1": base64.b64encode(b"\xff\xd8").decode()}


def test_only_the_script_of_the_package_may_run(tmp_path: Path) -> None:
    """The file stands alone, and its policy names the hash of the one script that is in it."""
    file = tmp_path / "map.html"
    write_scatterplot(file, [point("/a.pdf")], np.zeros((1, 2), np.float32), title="T", facts={})
    page = Page(file)
    [policy] = [value for name, value in page.attributes if name == "content" and value and "default-src" in value]
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?://", file.read_text(encoding="utf-8"))
    assert not [name for name, _ in page.attributes if name in {"src", "href"}]


def test_places_keep_their_shape_and_types_their_order(tmp_path: Path) -> None:
    """Both directions have one scale; the most frequent type is first; pages of one file share it."""
    points = [point("/a.pdf", "b"), point("/a.pdf", "a", page=1), point("/c.pdf", "b"), point("/d.pdf", None)]
    places = np.array([[0, 0], [4, 0], [4, 1], [2, 0.5]], np.float32)
    write_scatterplot(tmp_path / "map.html", points, places, title="T", facts={})
    content = Page(tmp_path / "map.html").content
    assert content["types"] == ["b", "a"]
    assert content["points"]["type"] == [0, 1, 0, -1]
    assert content["points"]["document"] == [0, 0, 1, 2]
    assert content["points"]["page"] == [1, 2, 1, 1]
    xs, ys = content["points"]["places"]
    assert (min(xs), max(xs)) == (0, 65535)
    assert (max(ys) - min(ys)) / 65535 == pytest.approx(0.25, abs=1e-4)


def test_one_page_is_a_map(tmp_path: Path) -> None:
    """It lies in the middle."""
    write_scatterplot(tmp_path / "map.html", [point("/a.pdf")], np.zeros((1, 2), np.float32), title="T", facts={})
    assert [c[0] for c in Page(tmp_path / "map.html").content["points"]["places"]] == [32768, 32768]


def test_labels_and_answers_share_their_colours(tmp_path: Path) -> None:
    """One list of types for both, labels first; statuses and folders beside them, and no answers without any."""
    points = [
        Point(PageRef("a" * 64, 0, "/pile/x/a.pdf"), 1, "letter", None, "letter", "ok"),
        Point(PageRef("b" * 64, 0, "/pile/y/b.pdf"), 1, None, None, "form", "novel"),
        Point(PageRef("c" * 64, 0, "/pile/y/z/c.pdf"), 1, None, None),
    ]
    write_scatterplot(tmp_path / "map.html", points, np.zeros((3, 2), np.float32), title="T", facts={})
    content = Page(tmp_path / "map.html").content
    assert content["types"] == ["letter", "form"]
    assert content["predicted"]
    assert content["points"]["type"] == [0, -1, -1]
    assert content["points"]["predicted"] == [0, 1, -1]
    assert content["points"]["status"] == [0, 2, -1]
    assert [content["folders"][n] for n in content["points"]["folder"]] == ["x", "y", "y/z"]
    write_scatterplot(tmp_path / "map.html", [point("/a.pdf")], np.zeros((1, 2), np.float32), title="T", facts={})
    content = Page(tmp_path / "map.html").content
    assert (content["predicted"], content["points"]["predicted"], content["folders"]) == (False, [], ["."])


def test_what_a_lasso_selects_is_a_list_for_label(browser: Any, tmp_path: Path) -> None:
    """Shift adds; pages or whole documents, a type for all or none; names that are odd come back as they are."""
    sources = [
        '/pile/a "1", x.pdf',
        "/pile/bytes\udcff.pdf",
        "/pile/<img src=x onerror=alert(1)>\u202e.pdf",
        "/pile/d.pdf",
    ]
    points = [
        Point(PageRef(str(n) * 64, k, source), 2, None, None, "form", "ok")
        for n, source in enumerate(sources)
        for k in range(2)
    ]
    places = np.array([[n % 2, n // 2] for n in range(4) for _ in range(2)], np.float32)
    write_scatterplot(tmp_path / "map.html", points, places, title="T", facts={})
    page = browser.new_page(viewport={"width": 900, "height": 600}, accept_downloads=True)
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text))
    page.on(
        "request",
        lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None,
    )
    page.goto((tmp_path / "map.html").as_uri())
    assert page.is_checked("#modes input[value=predicted]")
    page.click("#lasso")
    middle = page.evaluate("[width / 2, height / 2]")

    def draw(left: float, top: float, right: float, bottom: float) -> None:
        page.mouse.move(left, top)
        page.mouse.down()
        for x, y in ((right, top), (right, bottom), (left, bottom)):
            page.mouse.move(x, y, steps=4)
        page.mouse.up()

    def saved() -> list[list[str]]:
        with page.expect_download() as download:
            page.click("#save")
        text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
        return list(csv.reader(io.StringIO(text, newline="")))

    draw(2, middle[1], middle[0], 2 * middle[1] - 2)  # the first document lies below, on the left
    assert page.inner_text("#count") == "2 pages of 1 documents"
    assert saved() == [["path", "page", "label"], [sources[0], "1", ""], [sources[0], "2", ""]]
    page.keyboard.down("Shift")
    draw(2, 2, 2 * middle[0] - 2, middle[1])
    draw(middle[0], middle[1], 2 * middle[0] - 2, 2 * middle[1] - 2)
    page.keyboard.up("Shift")
    page.check("#whole")
    page.fill("#kind", ' a "form", =1 ')
    rows = saved()
    assert [row[1] for row in rows] == ["label", *['a "form", =1'] * 4]
    assert [text_to_path(row[0]) for row in rows[1:]] == sources
    page.click("#clear")
    assert page.is_disabled("#save")
    assert said == []
    page.close()
