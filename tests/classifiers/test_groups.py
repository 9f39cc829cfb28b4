"""Groups where nobody gave any: what layout and names join, what they never join, and that figures say which it was."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embedpipe.classifiers.group_guesses import separated
from embedpipe.classifiers.groups import describe, name_keys, with_guesses
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.metrics import group_origins
from embedpipe.store.workspace import Workspace

BLOCKS = [("all", 0, 32)]
TYPES = ("form", "invoice", "letter")


def pile(layouts: list[int], types: list[str], names: list[str] | None = None, noise: float = 0.1) -> LabelledPages:
    """One page of each document; those of one layout are near one another, and layouts at right angles."""
    rng = np.random.default_rng(0)
    X = np.eye(32)[layouts] + rng.normal(0, noise / np.sqrt(32), (len(layouts), 32))
    documents = np.array([f"d{number:02}" for number in range(len(layouts))], object)
    paths = None if names is None else np.array(names, object)
    n, y = len(layouts), np.array(types, object)
    return LabelledPages(
        np.arange(n), X.astype(np.float32), y, documents, documents.copy(), np.zeros(n, np.int64), paths=paths
    )


@pytest.fixture
def templates() -> LabelledPages:
    """Three types of ten documents, each of five layouts that two documents share, in no order."""
    return pile([number // 2 for number in range(30)], [TYPES[number // 10] for number in range(30)])


def apart(pages: LabelledPages, angle: float, names: list[str]) -> LabelledPages:
    """The pages with pairs of one layout turned apart, so that their cosine is about this, and with these names."""
    X = np.zeros((len(pages.y), 64), np.float32)
    rows = np.arange(len(pages.y))
    X[rows, rows // 2] = np.sqrt(angle)
    X[rows, 30 + rows] = np.sqrt(1 - angle)
    return dataclasses.replace(pages, X=X, paths=np.array(names, object))


def members(pages: LabelledPages) -> set[frozenset[str]]:
    """The groups of two documents or more."""
    found = {group: frozenset(pages.documents[pages.groups == group]) for group in set(pages.groups)}
    return {group for group in found.values() if len(group) > 1}


def test_documents_of_one_layout_share_a_guessed_group(templates: LabelledPages) -> None:
    """Each layout becomes a group, which bears the name of its first document."""
    found = with_guesses(templates, BLOCKS)
    assert members(found) == {frozenset({f"d{n:02}", f"d{n + 1:02}"}) for n in range(0, 30, 2)}
    assert set(found.groups) <= set(found.documents)
    assert set(found.origins if found.origins is not None else ()) == {"guessed"}


def test_guesses_do_not_depend_on_the_order_of_pages(templates: LabelledPages) -> None:
    """Shuffled pages are in the same groups, and later pages of a document follow its first one."""
    second = dataclasses.replace(
        templates, page_ids=templates.page_ids + 30, page_indices=templates.page_indices + 1, X=templates.X[::-1]
    )
    columns = {
        field.name: np.concatenate([getattr(templates, field.name), getattr(second, field.name)])
        for field in dataclasses.fields(templates)
        if getattr(templates, field.name) is not None
    }
    both = dataclasses.replace(templates, **columns)
    shuffled = both.take(np.random.default_rng(1).permutation(60))
    assert members(with_guesses(shuffled, BLOCKS)) == members(with_guesses(templates, BLOCKS))


def test_given_groups_stay_as_they_are(templates: LabelledPages) -> None:
    """A document with a group is never joined by a guess, and its group takes in nobody."""
    groups = templates.groups.copy()
    groups[[0, 5]] = "sender"
    found = with_guesses(dataclasses.replace(templates, groups=groups), BLOCKS)
    assert frozenset({"d00", "d05"}) in members(found)
    assert found.groups[1] == "d01"
    assert found.groups[4] == "d04"
    counts = group_origins(found)
    assert counts == {
        "documents_in_given_groups": 2,
        "documents_in_guessed_groups": 26,
        "documents_alone": 2,
        "documents_without_guess": 0,
    }
    found_by = "from layout and file names (26 share one, 2 look like no other)"
    assert describe(counts) == f"given for 2 documents; guessed for 28 documents {found_by}"


@pytest.mark.parametrize("layouts", [[0] * 10, [0] * 6 + [1, 2, 3, 4]])
def test_a_layout_of_most_documents_of_a_type_is_no_source(layouts: list[int]) -> None:
    """A type that is, or mostly is, of one layout keeps its documents apart: nothing could be measured otherwise."""
    pages = pile([*layouts, *(5 + n // 2 for n in range(20))], [TYPES[n // 10] for n in range(30)])
    found = with_guesses(pages, BLOCKS)
    assert len(set(found.groups[:10])) == 10
    assert len(set(found.groups[10:])) == 10


def test_a_guess_that_leaves_too_few_groups_is_not_made() -> None:
    """Two layouts that both types have would leave two groups in all: nothing could be learnt from the rest."""
    found = with_guesses(pile([0, 0, 1, 1] * 2, ["form"] * 4 + ["letter"] * 4), BLOCKS)
    assert len(set(found.groups)) == 8
    assert set(found.origins if found.origins is not None else ()) == {"own"}


def test_names_join_only_what_looks_somewhat_alike(templates: LabelledPages) -> None:
    """Pairs too far apart for their layout alone are joined where their names agree; names alone join nobody."""
    names = [f"/in/{'abcdefghijklmno'[n // 2] * 3}-{n}.pdf" for n in range(30)]
    wide = [("all", 0, 64)]
    pairs = {frozenset({f"d{n:02}", f"d{n + 1:02}"}) for n in range(0, 30, 2)}
    assert members(with_guesses(apart(templates, 0.68, names), wide)) == pairs
    assert members(with_guesses(apart(templates, 0.68, [f"/in/{n}.pdf" for n in range(30)]), wide)) == set()
    assert members(with_guesses(apart(templates, 0.3, names), wide)) == set()


def test_the_names_of_a_scanner_say_nothing(templates: LabelledPages) -> None:
    """Where all files are called alike, nothing is joined that would not be without names."""
    scanned = apart(templates, 0.68, [f"/in/scan{n:03}.pdf" for n in range(30)])
    assert members(with_guesses(scanned, [("all", 0, 64)])) == set()


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["/x/scan001.pdf", "/x/scan002.pdf", "/x/scan003.pdf", "/x/scan004.pdf"], ["", "", "", ""]),
        (
            ["/x/INV-2024-001.pdf", "/x/INV-2024-002.pdf", "/x/acme 1.pdf", "/x/2024-03 Acme.pdf"],
            ["inv", "inv", "acme", "acme"],
        ),
        (
            ["/t/bill/acme/1.pdf", "/t/bill/acme/2.pdf", "/t/bill/globex/1.pdf", "/t/bill/none.pdf"],
            ["acme", "acme", "globex", "none"],
        ),
        (["C:\\in\\a1.pdf", "IMG_1.jpg", "", "/x/.pdf"], ["in", "img", "", "pdf"]),
    ],
)
def test_names_tell_their_beginnings(names: list[str], keys: list[str]) -> None:
    """Numbers are passed over, words that most documents share are taken along, folders below the type count."""
    kinds: NDArray[Any] = np.ones((4, 1), bool)
    assert name_keys(names, ["bill"] * 4, kinds) == keys


def test_a_fine_tuned_network_tells_no_layouts(templates: LabelledPages) -> None:
    """Nothing is guessed from its features, and the figures say so."""
    found = with_guesses(dataclasses.replace(templates, seen=np.zeros(30, bool)), BLOCKS)
    assert members(found) == set()
    assert describe(group_origins(found)) == (
        "none for 30 documents (to guess, all need features of a network that is not fine-tuned)"
    )


def test_figures_of_an_earlier_time_say_nothing_of_groups() -> None:
    """Classifiers that were fitted before have no such keys."""
    assert describe({"groups": 12}) == ""


def test_near_copies_are_joined_across_guesses(workspace: Workspace, templates: LabelledPages) -> None:
    """A copy of a page in a given group is still kept on its side."""
    groups = templates.groups.copy()
    groups[0] = "sender"
    found = separated(workspace, dataclasses.replace(templates, groups=groups), BLOCKS)
    assert found.groups[0] == found.groups[1]
