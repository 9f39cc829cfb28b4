"""The page in a real browser: heap, families, queue and labels, mostly by keys."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from web.browser.served import HOSTILE, TYPES, checked, columns, give_type, view, wait_checked, wait_type

if TYPE_CHECKING:
    from playwright.sync_api import Page

FETCHED = """(least) => {
    const names = performance.getEntriesByType("resource").map(({ name }) => name);
    return new Set(names.filter((name) => name.endsWith("?size=large"))).size >= least;
}"""
"""Whether so many large pictures of pages have been fetched."""

DECISION = """async (key) => {
    const shown = () => document.querySelector(".queue")?.dataset.document, before = shown(), start = performance.now();
    const there = new Set(performance.getEntriesByType("resource").map(({ name }) => name));
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    while (performance.now() - start < 60000) {
        const image = document.querySelector(".queue .big img");
        if (shown() !== before && image?.complete && image.naturalWidth && image.src.includes(shown()))
            return image.src.endsWith("?size=large") && there.has(image.src);
        await new Promise((done) => setTimeout(done, 1));
    }
    return false;
}"""
"""Presses a key in the queue, and says whether the next page is shown by a large picture that was there before."""

OTHER = "family => document.querySelector('section.opened').getAttribute('aria-label') !== family"
"""Whether another family is open."""


def test_the_heap_is_filtered_sorted_chosen_and_exported(page: Page, open_page: Callable[..., Page]) -> None:
    """By keys, by a loop of the mouse, and again by the address in another browser and after a reload."""
    total = page.locator(".tile").count()
    page.locator("#rail a").first.click()
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.matches('.grid')")
    page.keyboard.press("/")
    page.keyboard.type("invoice")
    page.wait_for_function("total => document.querySelectorAll('.tile').length < total", arg=total)
    page.get_by_label("Sort by").select_option("doubt")
    page.locator(".grid").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert page.locator(".tile.chosen").count() == 3
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8-sig"))))
    assert len(rows) == 3
    assert all("invoice" in row["path"] for row in rows)
    page.wait_for_function("() => location.hash.includes('sel=')")
    address = page.evaluate("location.hash")
    assert "text=invoice" in address
    assert "sort=doubt" in address
    chosen = page.locator(".tile.chosen").evaluate_all("(tiles) => tiles.map((tile) => tile.id)")
    page.reload()
    for shown in (page, open_page(address)):
        shown.wait_for_selector(".tile.chosen")
        assert shown.locator(".tile.chosen").evaluate_all("(tiles) => tiles.map((tile) => tile.id)") == chosen
    page.keyboard.press("Escape")
    box = page.locator(".tile").nth(1).bounding_box() or {}
    page.mouse.move(box["x"] - 20, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 30, box["y"] + 90, steps=4)
    page.mouse.move(box["x"] + 1.4 * box["width"], box["y"] + 120, steps=4)
    page.mouse.up()
    assert page.locator(".tile.chosen").count() == 3
    page.mouse.move(0, 0)


def test_a_document_that_is_chosen_and_opened_at_once_stays_chosen(page: Page) -> None:
    """A double click does both faster than the address is written."""
    page.locator(".tile").nth(1).dblclick()
    page.wait_for_selector(".panel header h2")
    page.wait_for_function("() => location.hash.includes('doc=')")
    page.wait_for_timeout(200)  # the address holds the selection back for a moment
    assert page.locator(".tile.chosen").count() == 1
    assert "sel=" in page.evaluate("location.hash")
    page.locator(".panel header").get_by_role("button", name="Close").click()
    page.wait_for_selector(".panel", state="detached")
    assert page.locator(".tile.chosen").count() == 1


def test_a_selection_of_before_does_not_come_back(page: Page) -> None:
    """What was about to be written into the address when the view was left is not written into it later."""
    page.locator(".tile").nth(2).click()
    page.wait_for_function("() => location.hash.includes('sel=')")
    other = re.search("sel=[^&]+", page.evaluate("location.hash"))
    assert other
    page.evaluate("() => document.addEventListener('mouseup', () => setTimeout(() => { location.hash = '#/labels'; }))")
    page.locator(".tile").first.click()
    page.wait_for_function("() => location.hash === '#/labels'")
    page.wait_for_timeout(300)
    view(page, "heap", f"?{other[0]}")
    page.wait_for_selector(".tile.chosen")
    page.get_by_label("Sort by").select_option("doubt")
    page.wait_for_function("() => location.hash.includes('sort=doubt')")
    assert other[0] in page.evaluate("location.hash")


def test_a_page_of_one_document_does_not_stay_for_the_next(page: Page) -> None:
    """Closed with Escape and opened anew, a document begins with its first page."""
    documents = columns(page)["columns"]
    pile = documents["document"][documents["name"].index("pile.pdf")]
    view(page, "heap", f"?doc={pile}&page=2")
    page.wait_for_selector(".panel .pagestrip button:nth-child(2)[aria-pressed=true]")
    page.keyboard.press("Escape")
    page.wait_for_selector(".panel", state="detached")
    assert "page=" not in page.evaluate("location.hash")
    view(page, "heap", f"?doc={pile}&page=2")
    page.wait_for_selector(".panel .pagestrip")
    page.locator(".tile").first.dblclick()
    page.wait_for_function("pile => !location.hash.includes(pile)", arg=pile)
    assert "page=" not in page.evaluate("location.hash")


def test_a_selection_is_labelled_and_taken_back_after_a_reload(page: Page) -> None:
    """`l`, a name, Enter; Ctrl+Z and Ctrl+Shift+Z also when the page was loaded again in between."""
    before = checked(page)
    view(page, "heap", "?state=none&type=letter")
    page.wait_for_selector(".tools .set")
    unlabelled = page.locator(".tile").count()
    page.locator(".grid").focus()
    page.keyboard.press("Control+a")
    give_type(page, "Brief")
    wait_checked(page, before + unlabelled)
    wait_type(page, "Brief")
    page.reload()
    page.wait_for_selector("#head button[aria-label=Undo]:not(:disabled)")
    page.keyboard.press("Control+z")
    wait_checked(page, before)
    page.reload()
    page.wait_for_selector("#head button[aria-label=Redo]:not(:disabled)")
    page.keyboard.press("Control+Shift+Z")
    wait_checked(page, before + unlabelled)
    page.keyboard.press("Control+z")
    wait_checked(page, before)


SLOW = """part => {
    const real = window.fetch;
    window.held = new Promise((tell) => {
        window.fetch = async (address, ...rest) => {
            if (!String(address).endsWith(part) || window.release) return real(address, ...rest);
            const gone = new Promise((done) => { window.release = done; });
            const answer = part === "/documents" && await real(address, ...rest);
            tell();
            await gone;
            return answer || real(address, ...rest);
        };
    });
}"""
"""Holds up a request until `release` is called, or the answer, where all documents are asked for."""


def test_what_is_set_after_taking_back_stays(page: Page) -> None:
    """A label that is given before the server has heard of the undo before it is not taken back by it."""
    before = checked(page)
    page.locator(".tile:not(.checked)").first.click()
    page.evaluate(SLOW, "/labels/undo")
    give_type(page, "Brief")
    wait_checked(page, before + 1)
    page.keyboard.press("Control+z")
    page.evaluate("window.held")
    give_type(page, "Memo")
    page.wait_for_timeout(300)
    page.evaluate("release()")
    page.wait_for_function("() => document.querySelector('#toasts').innerText.includes('taken back')")
    wait_type(page, "Memo")
    wait_checked(page, before + 1)
    page.keyboard.press("Control+z")
    wait_checked(page, before)


def test_of_labels_in_several_requests_each_one_counts(page: Page) -> None:
    """Where the server takes fewer at once than are given, and refuses some, these are not told as kept."""
    before = checked(page)
    limited = page.evaluate("fetch('/version').then((a) => a.json())")
    limited["limits"]["labels"] = 1
    page.route("**/version", lambda route: route.fulfill(json=limited))
    page.reload()
    page.wait_for_selector(".tile")
    refused = {"status": 422, "content_type": "application/problem+json", "body": '{"detail": "refused once"}'}
    page.route("**/labels", lambda route: route.fulfill(**refused), times=1)
    open_ones = page.locator(".tile:not(.checked)")
    open_ones.first.click()
    open_ones.nth(1).click(modifiers=["Control"])
    give_type(page, "Brief")
    page.wait_for_function("() => document.querySelector('#toasts').innerText.includes('refused once')")
    wait_checked(page, before + 1)
    page.keyboard.press("Control+z")
    wait_checked(page, before)


def test_an_answer_from_before_does_not_bring_back_what_was_taken_back(page: Page, folder: Path) -> None:
    """Documents that were asked for before an undo, and come after it."""
    before = checked(page)
    page.locator(".tile:not(.checked)").first.click()
    give_type(page, "Brief")
    wait_checked(page, before + 1)
    page.wait_for_selector("#head button[aria-label=Undo]:not(:disabled)")
    page.evaluate(SLOW, "/documents")
    os.utime(folder / "artifacts" / "sources.parquet")
    page.evaluate("window.held")
    page.keyboard.press("Control+z")
    wait_checked(page, before)
    page.evaluate("release()")
    page.wait_for_timeout(500)
    assert checked(page) == before


def test_the_rest_of_a_family_gets_its_type_with_one_key(page: Page) -> None:
    """One document is taken out and keeps no label; a key labels the others, another takes that back and shows it."""
    before = checked(page)
    page.keyboard.press("g")
    page.keyboard.press("f")
    page.wait_for_selector(".families .opened .tile")
    page.wait_for_selector(".give button.main:not(:disabled)")
    left = int("".join(filter(str.isdigit, page.locator(".give > .number").inner_text())) or 1)
    out = 0
    if left > 1:
        page.locator(".grid.outs").focus()
        place = page.locator(".grid.outs .tile:not(.checked)").first
        place.click()
        out = 1
        page.wait_for_selector(".tile.chosen")
    family = page.locator("section.opened").get_attribute("aria-label")
    for key in ("u", "Control+z"):
        page.keyboard.press("Space")
        wait_checked(page, before + left - out)
        page.keyboard.press("j")
        page.wait_for_function(OTHER, arg=family)
        page.keyboard.press(key)
        wait_checked(page, before)
        page.wait_for_selector(f"section.opened[aria-label='{family}']")
        page.wait_for_function("out => document.querySelectorAll('.outs .tile.chosen').length === out", arg=out)


def test_the_queue_is_worked_through_by_keys(page: Page) -> None:
    """Candidates by number, space, none, a new type, skip and undo; next pages are fetched before they are shown."""
    before = checked(page)
    page.keyboard.press("g")
    page.keyboard.press("q")
    page.wait_for_selector(".queue .big img")
    page.wait_for_function(FETCHED, arg=5)  # a person looks at the first page while the next ones come
    first = page.locator(".queue").get_attribute("data-document")
    page.keyboard.press("h")
    page.wait_for_selector(".heatnote bdi")
    assert page.locator("svg.heat rect.for, svg.heat rect.against").count() > 4, (
        "what speaks for the type lies on the page"
    )
    assert [page.evaluate(DECISION, key) for key in ("1", " ", "n", "s")] == [True] * 4
    wait_checked(page, before + 3)
    give_type(page, "Gutachten", "t")
    wait_checked(page, before + 4)
    for number in range(4):
        page.keyboard.press("u")
        wait_checked(page, before + 3 - number)
    page.wait_for_function("wanted => document.querySelector('.queue').dataset.document === wanted", arg=first)
    page.keyboard.press("s")
    page.wait_for_function("other => document.querySelector('.queue').dataset.document !== other", arg=first)
    second = page.locator(".queue").get_attribute("data-document")
    page.wait_for_function("shown => location.hash.includes(shown)", arg=second)
    page.reload()
    page.wait_for_function("wanted => document.querySelector('.queue')?.dataset.document === wanted", arg=second)
    assert page.locator(".queue .looks li").count() > 0
    assert page.locator(".queue .facts").inner_text()


def test_two_open_pages_lose_nothing_of_each_other(page: Page, open_page: Callable[..., Page]) -> None:
    """Each labels another document; both know both, and undo takes back only what its own page did."""
    other = open_page()
    before = checked(page)
    free = page.locator(".tile:not(.checked)").evaluate_all("(tiles) => tiles.map((tile) => tile.id)")[:2]
    for opened, tile in ((page, free[0]), (other, free[1])):
        opened.locator(f"#{tile}").click()
        opened.wait_for_selector(".tools.chosen")
        give_type(opened, TYPES[0])
    for opened in (page, other):
        wait_checked(opened, before + 2)
    page.keyboard.press("Control+z")
    for opened in (page, other):
        wait_checked(opened, before + 1)
        assert opened.locator(f"#{free[1]}.checked").count() == 1
    other.keyboard.press("Control+z")
    wait_checked(page, before)


def test_lists_of_labels_go_in_and_out(page: Page, folder: Path) -> None:
    """What is exported is what the command line has; a list with a bad line says which one."""
    view(page, "labels")
    before = checked(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export labels.csv").click()
    exported = Path(download.value.path()).read_bytes()
    assert exported == (folder / "artifacts" / "labels.csv").read_bytes()
    path = folder / "Inbox" / HOSTILE
    content = f'path,label\n"{path}",notice\n{folder / "no.pdf"},letter\n'
    page.set_input_files("[data-name=labels]", {"name": "list.csv", "mimeType": "text/csv", "buffer": content.encode()})
    page.wait_for_selector(".lists [role=alert], #toasts .bad")
    page.get_by_role("button", name="Take the other lines").click()
    wait_checked(page, before + 1)
    page.get_by_role("button", name="Undo").first.click()
    wait_checked(page, before)


def test_a_hostile_name_is_text(page: Page) -> None:
    """It stands in tiles, panels and titles as it is called, and makes no element."""
    documents = columns(page)["columns"]
    found = documents["document"][documents["name"].index(HOSTILE)]
    view(page, "heap", f"?doc={found}")
    page.wait_for_selector(".panel header h2")
    assert page.locator(".panel header h2").inner_text() == HOSTILE
    assert page.locator("img[src='x']").count() == 0
    assert "broken" not in page.title()
