"""The page on which people decide: hostile names do nothing, keys choose, and what it saves is taken by `label`."""

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from drawing.test_scatterplots import Page

from embedpipe.core.tables import read_csv
from embedpipe.drawing.reviews import Card, Look, write_review

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\udcff.pdf"
TYPES = ("<b onclick=alert(1)>", "=1+1", "发票")


def made(file: Path) -> Page:
    """A page with three documents, as a browser reads it."""
    looks, kinds = [Look("发票", f"/pile/{HOSTILE}", 2, 0.91234, "a")], [("发票", 0.61), ("=1+1", None)]
    cards = [
        Card("1" * 64, f"/pile/{HOSTILE}", 3, "ambiguous", "may also be <i>", kinds, looks, "a"),
        Card("2" * 64, '/pile/"quoted", 二.pdf', 1, "novel", "new", [("=1+1", 0.5)], [], "gone"),
        Card("3" * 64, "=cmd.pdf", 1, "novel", "new", [], [], "gone"),
    ]
    write_review(file, {"</dl><u>": "<s>"}, cards, types=TYPES, none="none", pictures={"a": b"\xff\xd8"})
    return Page(file)


def test_hostile_names_do_nothing(tmp_path: Path) -> None:
    """Names and types that are HTML add no tag; what `label` needs comes back exactly."""
    page = made(tmp_path / "r.html")
    assert page.tags.count("script") == 2
    assert not {"u", "s"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(name != "src" for name, _ in page.attributes)
    content = page.content
    assert content["types"] == list(TYPES)
    assert content["cards"][0]["path"].startswith("bytes:")
    assert content["cards"][0]["candidates"] == [["发票", 0.61], ["=1+1", None]]


def test_it_loads_nothing_and_runs_only_its_own_script(tmp_path: Path) -> None:
    """No address of another place, and the policy allows one script by its hash."""
    page = made(tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text
    assert "http://" not in text
    assert "https://" not in text
    assert "innerHTML" not in page.scripts[1]


def test_another_choice_of_documents_has_another_memory(tmp_path: Path) -> None:
    """What was chosen is kept by the documents of the page, so that two reviews do not mix."""
    first = made(tmp_path / "a.html").content["name"]
    write_review(tmp_path / "b.html", {}, [], types=(), none="none", pictures={})
    assert Page(tmp_path / "b.html").content["name"] != first == made(tmp_path / "c.html").content["name"]


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

DRIVE = """
const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
press("2"); press("n");
element("new").value = " +合同, neu ";
element("new").dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
const told = { table: table(), count: element("count").textContent, here, stored: localStorage.getItem(STORE) };
chosen.clear(); own.length = 0; recall(); show();
told.again = table() === told.table;
press("0");
told.after = element("count").textContent;
add(document.body, "pre", btoa(unescape(encodeURIComponent(JSON.stringify(told)))), "told");
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_keys_choose_and_a_reload_loses_nothing(tmp_path: Path) -> None:
    """In a browser, from a file: keys choose, what was chosen is there again, and the saved table is read back."""
    import json  # noqa: PLC0415

    made(tmp_path / "r.html")
    text = re.sub(r'<meta http-equiv="Content-Security[^>]*>', "", (tmp_path / "r.html").read_text(encoding="utf-8"))
    (tmp_path / "d.html").write_text(text.replace("</body>", f"<script>{DRIVE}</script></body>"), encoding="utf-8")
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    address = (tmp_path / "d.html").as_uri()
    done = subprocess.run([*command, "--dump-dom", address], capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'class="told">([^<]+)<', done.stdout)
    assert found, done.stdout[-2000:]
    told = json.loads(base64.b64decode(found[1]))
    assert (told["count"], told["again"], told["after"]) == ("3 of 3 decided", True, "2 of 3 decided")
    (tmp_path / "saved.csv").write_text(told["table"], encoding="utf-8", newline="")
    rows = read_csv(tmp_path / "saved.csv")
    assert [row["label"] for row in rows] == ["=1+1", "none", "+合同, neu"]
    assert [row["path"] for row in rows[1:]] == ['/pile/"quoted", 二.pdf', "=cmd.pdf"]
    assert [row["document"][0] for row in rows] == ["1", "2", "3"]
