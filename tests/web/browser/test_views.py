"""The page in a real browser: all views but those of labelling; a killed server, axe, languages, a phone."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from web.browser.served import Server, checked, columns, give_type, view, wait_checked

if TYPE_CHECKING:
    from playwright.sync_api import Page

VIEWS = {
    "heap": ".tile img",
    "families": ".families .tile",
    "queue": ".queue .big img",
    "map": ".legend button",
    "lookalikes": ".looks.wide li",
    "twins": ".blink",
    "piles": ".leaf",
    "intake": ".drop",
    "labels": ".history",
    "refit": ".fit",
    "confusion": ".matrix .cell",
}
"""Each view, and what is there once it is drawn."""
SERIOUS = """async () => {
    const found = await axe.run(document, { resultTypes: ["violations"] });
    return found.violations.filter((one) => ["serious", "critical"].includes(one.impact))
        .map((one) => [one.id, ...one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160) + node.any[0]?.message)]);
}"""
DRAWN = """(map) => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
    const { data } = map.getContext("2d").getImageData(0, 0, map.width, map.height);
    done(data.filter((value, at) => at % 4 === 3 && value).length);
})))"""
"""How many pixels of the map are drawn."""

PASTE = """(bytes) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], "pasted.pdf"));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""
VERSION = "wanted => fetch('/version').then((a) => a.json()).then((found) => found.classifier.version !== wanted)"
COUNTED = "number => document.querySelector('.confusion .facts div:last-child dd').innerText === String(number)"


def named(page: Page, name: str) -> str:
    """The id of the document of a name."""
    documents = columns(page)["columns"]
    return str(documents["document"][documents["name"].index(name)])


def member(documents: list[str], number: int, *, keep: bool = False) -> dict[str, object]:
    """A page of a group of twins."""
    path = f"/{number}-{keep}.pdf"
    return {"document": documents[number % 9], "page": 1, "path": path, "keep": keep, "agreement": 1.0}


def query(page: Page, name: str) -> str:
    """What a view needs in its address to show something."""
    return f"?document={named(page, 'pile.pdf')}" if name in {"lookalikes", "piles"} else ""


def test_a_loop_on_the_map_chooses_what_is_labelled(page: Page) -> None:
    """The legend hides, the search dims, the loop chooses; Escape goes back step by step."""
    before = checked(page)
    view(page, "map")
    page.wait_for_selector(".legend button")
    canvas = page.locator("canvas")
    drawn = canvas.evaluate(DRAWN)
    assert drawn > 100
    page.locator(".legend button").first.click()
    assert canvas.evaluate(DRAWN) < drawn
    page.locator(".legend button").first.click()
    page.get_by_label("Search names").fill("slides-0")
    page.get_by_role("button", name="Choose the found ones").click()
    page.wait_for_selector(".tools.chosen")
    page.get_by_label("Search names").fill("")
    page.locator("h1").click()
    page.keyboard.press("s")
    page.wait_for_selector("canvas.loops")
    box = canvas.bounding_box() or {}
    x, y, width, height = (box[name] for name in ("x", "y", "width", "height"))
    page.mouse.move(x + 4, y + 4)
    page.mouse.down()
    for right, down in ((1, 0), (1, 1), (0, 1)):
        page.mouse.move(x + 4 + right * (width - 8), y + 4 + down * (height - 8), steps=3)
    page.mouse.up()
    chosen = int(columns(page)["count"])
    page.wait_for_selector(f".tools.chosen b:has-text('{chosen} documents')")
    give_type(page, "everything")
    wait_checked(page, chosen)
    page.keyboard.press("Control+z")
    wait_checked(page, before)


def test_look_alikes_of_a_page_a_box_and_a_file(page: Page, folder: Path) -> None:
    """Scores are shown; a drawn box is compared alone; a file that is dropped or pasted is a query as well."""
    view(page, "lookalikes", f"?document={named(page, 'twin.pdf')}")
    page.wait_for_selector(".looks.wide li")
    first = page.locator(".looks.wide li").first
    assert float(first.locator(".score").inner_text()) > 0.9
    box = page.locator(".marked").bounding_box() or {}
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.3, steps=4)
    page.mouse.up()
    page.wait_for_function("() => location.hash.includes('box=')")
    page.wait_for_selector(".boxed")
    page.wait_for_selector(".looks.wide:not(.busy) li")
    page.set_input_files("[data-name=query]", folder / "Inbox" / "twin.pdf")
    page.wait_for_function("() => !location.hash.includes('document=')")
    page.wait_for_selector(".query h2:has-text('twin.pdf')")
    page.wait_for_selector(".looks.wide:not(.busy) li")
    sheet = page.locator(".marked")
    assert sheet.locator("img").evaluate("async (image) => { await image.decode(); return image.naturalHeight; }") > 900
    box = sheet.bounding_box() or {}
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.4, steps=4)
    page.mouse.up()
    page.wait_for_function("() => location.hash.includes('box=')")
    assert (sheet.locator(".boxed").bounding_box() or {})["height"] == pytest.approx(0.4 * box["height"], abs=8)
    page.wait_for_selector(".looks.wide:not(.busy) li")
    page.evaluate(PASTE, list((folder / "Inbox" / "pile.pdf").read_bytes()))
    page.wait_for_selector(".query h2:has-text('pasted.pdf')")
    page.wait_for_selector(".looks.wide:not(.busy) li")


def test_twins_blink_and_what_differs_is_marked(page: Page, folder: Path) -> None:
    """The mark that one of them has is found; the list says which one stays, and no file is gone."""
    view(page, "twins")
    page.wait_for_selector(".twins .family")
    groups = page.evaluate("fetch('/twins').then((answer) => answer.json())")["groups"]
    [group] = [one["group"] for one in groups if any(member["path"].endswith("twin.pdf") for member in one["members"])]
    view(page, "twins", f"?group={group}")
    page.wait_for_selector(".member:has-text('twin.pdf')")
    page.wait_for_selector(".blink[data-differs]:not([data-differs=''])")
    front = page.locator(".blink").get_attribute("data-front")
    page.keyboard.press("b")
    page.wait_for_function("before => document.querySelector('.blink').dataset.front !== before", arg=front)
    page.keyboard.press("b")
    page.locator(".member input").last.check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Keep-list as CSV").click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()))
    twin = next(row for row in rows if row["path"].endswith("twin.pdf"))
    group = [row for row in rows if row["group"] == twin["group"]]
    assert [row["keep"] for row in group].count("yes") == 1
    assert all(Path(row["path"]).exists() for row in rows)
    assert (folder / "Inbox" / "twin.pdf").exists()


def test_thousands_of_twins_are_drawn_as_they_come_into_sight(page: Page) -> None:
    """The list draws a few rows wherever it stands, asks for their pictures alone, and follows the keys."""
    documents = columns(page)["columns"]["document"]
    groups = [
        {"group": number, "kind": "page", "members": [member(documents, number, keep=True), member(documents, number)]}
        for number in range(5000)
    ]
    answer = {"state": "ready", "job": None, "groups": groups, "notes": []}
    page.route("**/twins", lambda route: route.fulfill(json=answer))
    view(page, "twins", "?group=4000&marks=0")
    page.wait_for_selector(".list [aria-current]")
    rows = page.locator(".list [data-place]")
    assert rows.count() < 100
    here = page.locator(".list [aria-current]")
    assert here.locator("xpath=..").get_attribute("aria-posinset") == "4001"
    for _ in range(12):
        page.keyboard.press("j")
    page.wait_for_function("() => location.hash.includes('group=4012')")
    seen, shown = page.locator(".list").bounding_box() or {}, here.bounding_box() or {}
    assert seen["y"] - 1 <= shown["y"] <= seen["y"] + seen["height"] - shown["height"] + 1
    page.locator(".list").evaluate("list => list.scrollTo({ top: 0 })")
    page.wait_for_selector(".list [data-place='0']")
    assert rows.count() < 100
    page.unroute("**/twins")


def test_a_cell_of_mistakes_opens_its_documents_and_a_wrong_label_is_changed(page: Page) -> None:
    """The letter that was called slides is shown beside its look-alike; a key accepts what it looks like."""
    view(page, "confusion")
    page.wait_for_selector(".matrix .cell")
    cell = page.locator(".matrix .cell").first
    number = int(cell.inner_text())
    cell.click()
    page.wait_for_selector(".confusion .right .tile")
    assert page.locator(".confusion .right .tile").count() == number
    page.keyboard.press("Escape")
    total = page.locator(".confusion .facts dd").last
    page.wait_for_selector(".sides")
    before = int(total.inner_text())
    page.keyboard.press("Space")
    page.wait_for_function(COUNTED, arg=before - 1)
    page.keyboard.press("Control+z")
    page.wait_for_function(COUNTED, arg=before)


def test_a_label_that_is_kept_does_not_come_back(page: Page, open_page: Callable[..., Page], server: Server) -> None:
    """Neither here nor in another browser; taken back, it is likely wrong again in all of them."""
    view(page, "confusion")
    page.wait_for_selector(".sides")
    total = page.locator(".confusion .facts dd").last
    before, name = int(total.inner_text()), page.locator(".right .tools bdi").inner_text()
    labels = checked(page)
    page.keyboard.press("k")
    page.wait_for_function(COUNTED, arg=before - 1)
    page.wait_for_selector("#head button[aria-label=Undo]:not(:disabled)")
    assert checked(page) == labels
    other = open_page("#/confusion")
    other.wait_for_function(COUNTED, arg=before - 1)
    assert name not in [one["name"] for one in server.asked("confusion?refresh=false")["likely_wrong"]]
    view(page, "refit")
    page.keyboard.press("Control+z")
    other.wait_for_function(COUNTED, arg=before)
    assert name in [one["name"] for one in server.asked("confusion?refresh=false")["likely_wrong"]]


def test_cuts_of_a_pile_are_moved_merged_and_written(page: Page, folder: Path) -> None:
    """By keys; the address has the cuts, a reload keeps them, and only a request writes parts."""
    pile = named(page, "pile.pdf")
    view(page, "piles", f"?document={pile}")
    page.wait_for_selector(".leaf")
    pages = page.locator(".leaf").count()
    page.keyboard.press("Escape")
    view(page, "piles", f"?document={pile}&cuts=1")
    page.wait_for_selector(".gap-button.cut[data-after='1']")
    page.locator(".gap-button[data-after='1']").focus()
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_selector(".gap-button.cut[data-after='2']")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("x")
    page.wait_for_function("() => document.querySelectorAll('.part').length === 3")
    page.keyboard.press("x")
    page.reload()
    page.wait_for_selector(".gap-button.cut[data-after='2']")
    assert page.locator(".part").count() == 2
    assert page.locator(".leaf").count() == pages
    assert not list((folder / "parts").rglob("*.pdf"))
    before = checked(page)
    page.keyboard.press("c")
    wait_checked(page, before + 1)
    view(page, "heap", "?state=checked&text=pile")
    page.wait_for_selector(".tile.checked")
    page.keyboard.press("Control+z")
    wait_checked(page, before)
    page.go_back()
    page.wait_for_selector(".leaf")
    page.get_by_role("button", name="Write the parts").click()
    page.wait_for_selector(".notice:has-text('parts are written to')")
    assert len(list((folder / "parts").rglob("*.pdf"))) == 2


POST = """([path, body]) => fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
}).then((answer) => answer.json())"""
LEFT = "#rail [aria-current]", ".queue header .number"


def test_a_pile_with_one_labelled_page_is_asked_about_nowhere(page: Page) -> None:
    """It is partly checked; what the rail and the queue say is left is the same."""
    labels = [{"document": named(page, "pile.pdf"), "page": 1, "type": "letter"}]
    given = page.evaluate(POST, ["/labels", {"labels": labels}])
    view(page, "heap", "?state=partly")
    page.wait_for_selector(".tile:has-text('pile.pdf')")
    view(page, "queue")
    page.wait_for_selector(".queue header")
    rail, queue = (re.findall(r"\d+", page.locator(place).first.inner_text())[0] for place in LEFT)
    assert rail == queue
    page.evaluate(POST, ["/labels/undo", {"token": given["token"]}])


def test_files_are_read_while_the_page_is_closed(page: Page, open_page: Callable[..., Page], tmp_path: Path) -> None:
    """Sent files are read by a job that goes on; what cannot be read is named with its reason."""
    before = int(columns(page)["count"])
    view(page, "intake")
    good, bad = tmp_path / "fresh scan.png", tmp_path / "broken.pdf"
    from PIL import Image  # noqa: PLC0415 - this test alone needs it

    Image.radial_gradient("L").convert("RGB").resize((400, 560)).save(good)
    bad.write_bytes(b"%PDF-1.7 nothing")
    page.wait_for_selector("[data-name=files]", state="attached")
    page.set_input_files("[data-name=files]", [good, bad])
    page.wait_for_selector(".job:has-text('uploaded')")
    page.context.close()
    later = open_page("#/intake")
    later.wait_for_selector(".failures td")
    assert "broken.pdf" in later.locator(".failures").first.inner_text()
    later.wait_for_selector(".job:has-text('uploaded') .mark.done")
    later.get_by_label("Language").select_option("zh")
    later.wait_for_selector(".failures td:has-text('无法读取'), .failures td:has-text('不是文档')")
    later.get_by_label("语言").select_option("en")
    view(later, "heap", "?text=fresh")
    later.wait_for_selector(".tile")
    assert later.locator(".tile .name").inner_text() == good.name
    assert int(columns(later)["count"]) == before + 1


def test_a_refit_shows_what_changed_and_is_rolled_back_with_a_key(page: Page) -> None:
    """`f` fits, progress is shown, and `b` brings the version before into use again."""
    view(page, "refit")
    page.wait_for_selector(".fit")
    version = int(page.locator(".fit h2").inner_text().split()[-1])
    page.keyboard.press("f")
    page.wait_for_selector(f".refit .job, .fit h2:has-text('{version + 1}')")  # a fit may end at once
    page.wait_for_selector(f".fit h2:has-text('{version + 1}')")
    page.wait_for_selector(".what .changes")
    assert int(page.locator(".what .changes td.number").first.inner_text()) > 0
    page.keyboard.press("b")
    page.wait_for_function(VERSION, arg=version + 1)


def test_the_page_goes_on_after_the_server_was_killed(open_page: Callable[..., Page], server: Server) -> None:
    """It says that nobody answers, and goes on by itself; labels stay, and pictures come that did not."""
    page = open_page("#/heap?size=small")
    before = checked(page)
    page.locator(".tile:not(.checked)").first.click()
    page.wait_for_selector(".tools.chosen")
    give_type(page, "letter")
    wait_checked(page, before + 1)
    page.wait_for_selector("#head button[aria-label=Undo]:not(:disabled)")
    page.route("**/pages/*.webp", lambda route: route.abort("connectionrefused"))
    pile = named(page, "pile.pdf")
    view(page, "heap", f"?size=small&doc={pile}")
    page.wait_for_selector(".pagestrip .none")
    page.unroute("**/pages/*.webp")
    server.kill()
    page.wait_for_selector(".notice.bad")
    view(page, "heap", "?size=small")
    view(page, "heap", f"?size=small&doc={pile}")
    page.wait_for_selector(".panel [role=alert]")  # what is asked for meanwhile fails
    page.keyboard.press("Escape")
    page.locator(".tile:not(.checked)").first.click()
    give_type(page, "letter")
    page.wait_for_selector("#toasts .bad:has-text('Not saved')")
    assert checked(page) == before + 1, "what nobody got is not shown as checked"
    view(page, "heap", f"?size=small&doc={pile}")
    server.start()
    page.wait_for_selector(".notice.bad", state="detached")
    page.wait_for_function("() => document.querySelectorAll('.pagestrip img').length > 1")
    page.wait_for_selector(".pagestrip .none", state="detached")
    wait_checked(page, before + 1)
    page.keyboard.press("Control+z")
    wait_checked(page, before)


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
def test_axe_finds_nothing_serious_in_any_view(open_page: Callable[..., Page], language: str) -> None:
    """In both languages, light and dark; and nothing of the page stays English in Chinese."""
    pytest.importorskip("axe_playwright_python")
    page = open_page(locale=language, color_scheme="dark" if language == "zh-CN" else "light")
    page.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = {}
    for name, drawn in VIEWS.items():
        view(page, name, query(page, name))
        page.wait_for_selector(drawn)
        found[name] = page.evaluate(SERIOUS)
        if language == "zh-CN":
            assert "的" in page.locator("main").inner_text() or page.locator("main").inner_text().strip() != "", name
    assert not {name: problems for name, problems in found.items() if problems}
    assert page.locator("#rail a").first.inner_text().startswith("文档堆" if language == "zh-CN" else "Heap")


def test_the_language_is_switched_and_kept(page: Page) -> None:
    """Without another load of the page, and after one."""
    page.get_by_label("Language").select_option("zh")
    page.wait_for_selector("#rail a:has-text('文档堆')")
    view(page, "confusion")
    assert page.locator(".right .main kbd").inner_text() == "空格"
    page.reload()
    page.wait_for_selector("#rail a:has-text('文档堆')")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    page.get_by_label("语言").select_option("en")
    page.wait_for_selector("#rail a:has-text('Heap')")


def test_a_phone_shows_all_without_scrolling_sideways(open_page: Callable[..., Page]) -> None:
    """At 400 pixels, nothing is wider than the screen."""
    page = open_page(width=400)
    for name, drawn in VIEWS.items():
        view(page, name, query(page, name))
        page.wait_for_selector(drawn, state="attached")
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), name
        here = page.locator("#rail [aria-current]").bounding_box() or {}
        assert 0 <= here["x"] <= 400 - here["width"], name
