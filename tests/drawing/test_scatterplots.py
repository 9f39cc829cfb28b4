"""The map as an HTML file."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
