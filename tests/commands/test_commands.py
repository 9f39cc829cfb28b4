"""The command line: JSON keys, exit codes, one-line errors."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from commands import in_process
from PIL import Image

from embedpipe.samples import draw_samples

TINY = ("--backbone", "timm:test_resnet", "--weights", "none")
SMALL = ("--size", "64", "--layers", "penultimate")
TYPES = ("invoice", "slides", "paper")
SCRIPT = Path(sys.executable).with_name("embedpipe")

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Runs a command line in this process."""
    return in_process.run([str(argument) for argument in arguments])


def run_installed(*arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Runs the installed script."""
    command = [str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, **options)


def values(done: "subprocess.CompletedProcess[str]") -> Any:
    """The JSON object that a command printed; fails where it printed anything else."""
    assert done.returncode in (0, 3), done.stderr
    return json.loads(done.stdout)


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line of an error; fails where there is a traceback or no error."""
    assert done.returncode in (1, 2), done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return errors[0]


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of three types, a folder for each."""
    folder = tmp_path_factory.mktemp("pile")
    draw_samples(folder, per_type=5, types=TYPES)
    return folder


@pytest.fixture(scope="module")
def artifacts(pile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts with embedded, labelled documents and a classifier."""
    folder = tmp_path_factory.mktemp("artifacts")
    embedded = values(run("embed", pile, "--label-by", "folder", "--artifacts", folder, "--json", *TINY, *SMALL))
    assert embedded["documents"] == 15
    assert embedded["failed"] == 0
    [why] = values(run("fit-svm", "--artifacts", folder, "--json"))["advice"]
    assert "no answer can be ok" in why
    return folder


def test_index_is_built_once_and_shown(artifacts: Path) -> None:
    """`index` builds what is asked for, then finds it there; `info` shows factory, recall and space."""
    built = values(run("index", "--index", "IVF4,SQ8", "--recall", "0.9", "--artifacts", artifacts, "--json"))
    assert (built["done"], built["factory"]) == ("built", "IVF4,SQ8")
    assert built["recall"] >= 0.9
    assert values(run("index", "--artifacts", artifacts, "--json"))["done"] == "unchanged"
    [space] = values(run("info", "--artifacts", artifacts, "--json"))["spaces"]
    assert {key: space["index"][key] for key in ("pages", "space", "factory")} == {
        "pages": space["pages"],
        "space": space["space"],
        "factory": "IVF4,SQ8",
    }
    assert "--index" in one_line(run("index", "--index", "Rubbish", "--artifacts", artifacts))


def test_embed_tells_what_it_did(pile: Path, artifacts: Path) -> None:
    """A second `embed` finds every page there and prints all the promised keys."""
    again = values(run("embed", pile, "--artifacts", artifacts, "--json", *TINY, *SMALL))
    promised = "documents pages embedded skipped duplicates failed seconds pages_per_second device precision backbone"
    assert {*promised.split(), "space", "dim"} <= again.keys()
    assert {"render", "forward", "write"} <= again["stages"].keys()
    assert again["embedded"] == 0
    assert again["skipped"] == again["pages"] > 15
    assert again["dim"] == 96
    assert again["backbone"] == "timm:test_resnet"


@pytest.mark.parametrize("kind", ["svm", "knn", "head"])
def test_fit_tells_quality(kind: str, artifacts: Path) -> None:
    """Every `fit-*` prints held-out metrics, and takes hyper-parameters."""
    setting = {"svm": "C=1", "knn": "n_neighbors=3", "head": "max_iter=200"}[kind]
    fitted = values(run(f"fit-{kind}", "--artifacts", artifacts, "--json", "--set", setting, "--name", f"my-{kind}"))
    assert fitted["classifier"] == f"my-{kind}"
    assert fitted["classes"] == sorted(TYPES)
    keys = {"accuracy", "balanced_accuracy", "macro_f1", "document_accuracy", "folds"}
    assert keys <= fitted["metrics"].keys()
    assert fitted["documents"] == 15


def test_classify_answers_for_pages_and_documents(artifacts: Path, tmp_path: Path) -> None:
    """New files get a type per page and per document, a CSV, and copies sorted into folders; originals stay."""
    inbox = tmp_path / "inbox"
    new = draw_samples(inbox, per_type=1, seed=9, types=TYPES)
    sheet, sorted_into = tmp_path / "answers.csv", tmp_path / "sorted"
    options = ("--csv", sheet, "--sort-into", sorted_into, "--classifier", "svm", "--json", "--weights", "none")
    options += ("--neighbours", "2", "--error-rate", "0.2")
    answers = values(run("classify", inbox, "--artifacts", artifacts, *options))
    assert [d["path"] for d in answers["documents"]] == [str(path) for path in new]
    measured = {kind["source_kind"]: kind["measured"] for kind in answers["shift"]["kinds"]}
    assert "digital" in measured
    assert "born-digital documents" in answers["promise"]
    for document in answers["documents"]:
        assert document["measured"] == measured[document["source_kind"]]
        assert document["type"] in TYPES
        assert document["status"] in {"ok", "ambiguous", "novel"}
        assert document["type"] == document["candidates"][0]["type"]
        assert (len(document["candidates"]) == 1) or document["status"] != "ok"
        assert 0 <= document["margin"] <= document["confidence"] <= 1
        assert 0 <= document["novelty"] < 1
        assert {"path", "page", "type", "score"} == document["neighbours"][0].keys()
        assert len(document["pages"][0]["neighbours"]) == 2
        assert [page["page"] for page in document["pages"]] == list(range(1, len(document["pages"]) + 1))
        sure = {"ok": Path(), "ambiguous": Path("_ambiguous")}.get(document["status"])
        place = Path("_novel") if sure is None else sure / document["type"]
        copy = sorted_into / place / Path(document["path"]).name
        assert copy.read_bytes() == Path(document["path"]).read_bytes()
    with open(sheet, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["path"], r["type"]) for r in rows] == [(d["path"], d["type"]) for d in answers["documents"]]


def test_scans_are_not_ok_for_a_classifier_that_met_none(artifacts: Path, tmp_path: Path) -> None:
    """A picture of a page whose type is known gets candidates, a line that says what to do, and no "ok"."""
    [page] = draw_samples(tmp_path / "inbox", per_type=1, seed=9, types=("slides",))
    picture = tmp_path / "picture.png"
    with pymupdf.open(page) as document:
        document[0].get_pixmap().save(picture)
    done = run("classify", picture, "--artifacts", artifacts, *["--classifier", "svm", "--json", "--weights", "none"])
    answers = values(done)
    [document] = answers["documents"]
    assert document["source_kind"] in {"scan", "photo"}
    assert document["status"] != "ok"
    assert not document["measured"]
    [line] = answers["shift"]["advice"]
    assert "none is ok" in line
    assert line in done.stderr


def test_one_answer_whether_stored_or_new(pile: Path, artifacts: Path, tmp_path: Path) -> None:
    """A document gets the same answer from its stored features and as a new file."""
    stored = next(iter(sorted((pile / "paper").glob("*.pdf"))))
    changed = tmp_path / "same-pages.pdf"
    changed.write_bytes(stored.read_bytes() + b"\n% another file by its content\n")
    done = run(
        "classify", stored, changed, "--artifacts", artifacts, "--classifier", "svm", "--json", "--weights", "none"
    )
    first, second = values(done)["documents"]
    assert (first["labelled"], second["labelled"]) == (True, False)  # what a person said counts for the document
    for one, other in zip(first["pages"], second["pages"], strict=True):
        assert one["type"] == other["type"]
        assert one["confidence"] == pytest.approx(other["confidence"], abs=0.02)


def test_similar_finds_the_page_itself_last_and_others_first(pile: Path, artifacts: Path, tmp_path: Path) -> None:
    """The neighbours of a stored page are other pages, best first, and a contact sheet shows them."""
    query = f"{min((pile / 'slides').iterdir())}#page=2"
    picture = tmp_path / "similar.png"
    found = values(run("similar", query, "--artifacts", artifacts, "-k", "5", "--contact-sheet", picture, "--json"))
    scores = [n["score"] for n in found["neighbours"]]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert f"{found['query']['path']}#page={found['query']['page']}" == query
    assert query not in [f"{n['path']}#page={n['page']}" for n in found["neighbours"]]
    with Image.open(picture) as image:
        assert image.width > 600


def test_similar_takes_a_page_that_is_not_stored(artifacts: Path, tmp_path: Path) -> None:
    """A new file can be looked up, and its nearest page is one of its own type's layout."""
    [new] = draw_samples(tmp_path, per_type=1, seed=4, types=("slides",))
    found = values(run("similar", new, "--artifacts", artifacts, "--json", "-k", "3", "--weights", "none"))
    assert found["query"]["page"] == 1
    assert len(found["neighbours"]) == 3


def test_evaluate_writes_a_report(artifacts: Path, tmp_path: Path) -> None:
    """`evaluate` prints the confusion of all documents, and writes an HTML file that needs no other."""
    report = tmp_path / "report.html"
    done = run("evaluate", "--classifier", "svm", "--artifacts", artifacts, "--report", report, "--json")
    measured = values(done)
    assert measured["confusion"]["labels"] == sorted(TYPES)
    assert sum(map(sum, measured["confusion"]["matrix"])) == 15
    assert {row["type"] for row in measured["per_class"]} == set(TYPES)
    assert {"intervals", "careless", "decisions", "reliability", "risk_coverage", "learning_curve"} <= measured.keys()
    assert {row["type"] for row in measured["learning_curves"]} == set(TYPES)
    assert measured["novelty"]["left_out"]["documents"] == 15
    assert measured["guard"]["largest_ok"] <= 0.05
    low, high = measured["intervals"]["macro_f1"]
    assert low <= measured["metrics"]["document_macro_f1"] <= high
    assert measured["decisions"]["documents"].keys() >= {"coverage", "ok", "ambiguous", "novel"}
    assert [point["documents_per_type"] for point in measured["learning_curve"]] == [1, 2, 5]
    html = report.read_text(encoding="utf-8")
    assert "<html" in html
    assert "How many labels does each type need?" in html
    assert 'src="http' not in html


def test_evaluate_on_documents_from_elsewhere(artifacts: Path, pile: Path, tmp_path: Path) -> None:
    """`evaluate --test` measures on a folder's new documents, leaves known ones out, and keeps nothing."""
    elsewhere = tmp_path / "elsewhere"
    draw_samples(elsewhere, per_type=1, seed=7, types=TYPES)
    known = next((pile / TYPES[0]).iterdir())
    shutil.copy(known, elsewhere / TYPES[0] / known.name)
    draw_samples(tmp_path / "others", per_type=1, seed=8, types=["letter"])
    shutil.copytree(tmp_path / "others" / "letter", elsewhere / "None")
    before = values(run("info", "--artifacts", artifacts, "--json"))
    options = ("--classifier", "svm", "--artifacts", artifacts, "--weights", "none")
    measured = values(run("evaluate", "--test", elsewhere, "--json", *options))
    assert measured["metrics"]["documents"] == len(TYPES)
    assert len(measured["left_out"]) == 1
    assert measured["metrics"]["none"]["documents"] == 1
    assert measured["unknown_types"] == []
    assert sum(map(sum, measured["confusion"]["matrix"])) == len(TYPES)
    assert 0 <= measured["intervals"]["accuracy"][0] <= measured["metrics"]["accuracy"] <= 1
    after = values(run("info", "--artifacts", artifacts, "--json"))
    assert (after["labels"], after["spaces"]) == (before["labels"], before["spaces"])
    assert "nothing to measure" in one_line(run("evaluate", "--test", pile, *options))


def test_info_counts_what_is_there(artifacts: Path) -> None:
    """`info --verify` finds all files as their manifests say."""
    held = values(run("info", "--artifacts", artifacts, "--verify", "--json"))
    [space] = held["spaces"]
    assert space["documents"] == 15
    assert held["labels"]["types"] == dict.fromkeys(sorted(TYPES), 5)
    assert "svm" in [classifier["name"] for classifier in held["classifiers"]]
    assert held["problems"] == []


def test_label_takes_a_csv(artifacts: Path, pile: Path, tmp_path: Path) -> None:
    """A CSV changes labels; paths count from its folder."""
    document = next((pile / "paper").iterdir())
    table = tmp_path / "labels.csv"
    table.write_text(f"path,label\n{document},article\n", encoding="utf-8")
    labelled = values(run("label", table, "--artifacts", artifacts, "--json"))
    assert labelled == {
        "labelled": 1,
        "types": {"article": 1, "invoice": 5, "paper": 4, "slides": 5},
        "none": 0,
        "bad_lines": [],
    }
    table.write_text(f"path,label\n{document},paper\n", encoding="utf-8")
    assert values(run("label", table, "--artifacts", artifacts, "--json"))["types"]["paper"] == 5


def test_none_of_these(artifacts: Path, pile: Path) -> None:
    """Documents of none of the types are counted beside the types, learnt from as such, and taken back."""
    document, where = next((pile / "paper").iterdir()), ("--artifacts", artifacts)
    labelled = values(run("label", document, "--none", "--json", *where))
    assert labelled == {"labelled": 1, "types": {"invoice": 5, "paper": 4, "slides": 5}, "none": 1, "bad_lines": []}
    assert values(run("info", "--json", *where))["labels"]["none"] == 1
    assert "none of these: 1" in run("info", *where).stdout
    fitted = run("fit-svm", "--name", "aware", *where).stdout
    assert "none of these, documents that teach what is novel and are no type: 1" in fitted
    assert "documents of other types, by leaving types out" in fitted
    shown = json.loads(run("classify", document, "--classifier", "aware", "--json", *where, "--weights", "none").stdout)
    assert (shown["documents"][0]["type"], shown["documents"][0]["labelled"]) == (None, True)
    assert shown["documents"][0]["pages"][0]["type"] in TYPES
    shutil.rmtree(artifacts / "classifiers" / "aware")
    undone = values(run("label", "--undo", "--json", *where))
    assert (undone["types"]["paper"], undone["none"]) == (5, 0)
    assert run("label", "3", "--cluster", "--none", "--as", "paper", *where).returncode == 2


def test_backbones_and_doctor_answer() -> None:
    """`backbones` lists widths read from the networks; `doctor` names device, engine and precision."""
    rows = {row["name"]: row for row in values(run("backbones", "--json"))["backbones"]}
    assert rows["resnet50"]["penultimate"] == 2048
    assert rows["efficientnet_lite0"]["here"] is True
    assert not set("{[") & set(run("doctor").stdout), "lists are read by people"
    diagnosis = values(run("doctor", "--json"))
    assert "pi-heif" in diagnosis["heif"]
    assert {"device", "engine", "precision", "threads", "libraries", "weights", "advice"} <= diagnosis.keys()


def test_bad_files_are_failures_with_exit_code_3(tmp_path: Path) -> None:
    """Broken, empty, encrypted and misnamed files each get a row with a reason; the good page is embedded."""
    pile = tmp_path / "pile"
    pile.mkdir()
    (pile / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing")
    (pile / "empty.pdf").write_bytes(b"")
    (pile / "text.png").write_text("not a picture")
    (pile / "notes.txt").write_text("not a document, and not meant to be one")
    with pymupdf.open() as document:
        document.new_page().insert_text((72, 72), "secret")
        document.save(pile / "locked.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="user", owner_pw="owner")
        document.save(pile / "good.pdf")
    done = run("embed", pile, "--artifacts", tmp_path / "a", "--json", *TINY, *SMALL)
    assert done.returncode == 3
    report = values(done)
    kinds = {Path(f["path"]).name: f["kind"] for f in report["failures"]}
    assert kinds == {
        "broken.pdf": "not_a_document",
        "empty.pdf": "not_a_document",
        "text.png": "not_a_document",
        "locked.pdf": "encrypted",
    }
    assert (report["files"], report["documents"], report["embedded"], report["ignored"]) == (6, 1, 1, 1)
    passwords = tmp_path / "passwords.txt"
    passwords.write_text("wrong\nuser\n")
    retry = ("--retry-failed", "--password-file", passwords)
    again = values(run("embed", pile / "locked.pdf", "--artifacts", tmp_path / "a", "--json", *retry, *TINY, *SMALL))
    assert (again["embedded"], again["failed"]) == (1, 0)


def test_errors_are_one_line_that_says_what_to_do(tmp_path: Path, pile: Path, artifacts: Path) -> None:
    """An empty store, an unknown name, one single type, a missing file: exit code 1 and one line with the remedy."""
    empty = tmp_path / "empty"
    assert "run `embed`" in one_line(run("fit-svm", "--artifacts", empty))
    assert "run `fit-svm` first" in one_line(run("classify", pile, "--artifacts", empty))
    assert "did you mean resnet50" in one_line(run("embed", pile, "--backbone", "resnet5", "--artifacts", empty))
    assert "cannot read" in one_line(run("embed", tmp_path / "missing", "--artifacts", empty, *TINY))
    assert "NAME=VALUE" in one_line(run("fit-svm", "--set", "C", "--artifacts", artifacts))
    assert "hyper-parameter" in one_line(run("fit-svm", "--set", "K=1", "--artifacts", artifacts))
    assert "unknown classifier" in one_line(run("evaluate", "--classifier", "nobody", "--artifacts", artifacts))
    assert "page number" in one_line(run("similar", f"{pile}#page=x", "--artifacts", artifacts))


def test_unlabelled_and_single_type_pages_cannot_be_fitted(pile: Path, tmp_path: Path) -> None:
    """Without labels both ways to label are named; with one type the error asks for another."""
    values(run("embed", pile / "invoice", "--artifacts", tmp_path, "--json", *TINY, *SMALL))
    error = one_line(run("fit-svm", "--artifacts", tmp_path))
    assert "--label-by folder" in error
    assert "label FILE.csv" in error
    table = tmp_path / "labels.csv"
    rows = "".join(f"{file},invoice\n" for file in sorted((pile / "invoice").iterdir()))
    table.write_text(f"path,label\n{rows}")
    assert "another type" in one_line(run("fit-svm", "--labels", table, "--artifacts", tmp_path))


def test_a_wrong_list_is_refused_before_anything_is_embedded(pile: Path, tmp_path: Path) -> None:
    """Its lines are named; one that is right so far as anybody can know gives its labels after embedding."""
    table, artifacts = tmp_path / "labels.csv", tmp_path / "a"
    file = min((pile / "invoice").iterdir())
    embed = "embed", pile / "invoice", "--labels", table, "--artifacts", artifacts, "--json", *TINY, *SMALL
    for text, reason in (
        (f"path,label,page\n{file},invoice,first\n", "line 2: page 'first' is not a number"),
        ("name,when\na,b\n", "needs the columns path and label"),
        (None, "labels.csv"),
    ):
        table.unlink() if text is None else table.write_text(text)
        done = run(*embed)
        assert done.returncode == 1
        assert reason in done.stderr
        assert not list(artifacts.glob("features/*"))
    table.write_text(f"path,label\n{file},invoice\n")
    assert values(run(*embed))["embedded"]
    assert (artifacts / "labels.csv").read_text().count("invoice") >= 1


def test_missing_weights_name_the_file_to_fetch(pile: Path, tmp_path: Path) -> None:
    """Offline, a backbone without weights is one line with URL and place, never random weights."""
    environment = os.environ | {"TORCH_HOME": str(tmp_path / "torch"), "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = run_installed("embed", pile, "--backbone", "resnet50", "--artifacts", tmp_path / "a", env=environment)
    error = one_line(done)
    assert "resnet50-11ad3fa6.pth" in error
    assert str(tmp_path / "torch") in error
    assert "--weights FILE" in error


def test_another_networks_features_are_refused(pile: Path, artifacts: Path) -> None:
    """A classifier refuses pages of a network with other weights and names both spaces."""
    new = next((pile / "paper").iterdir())
    copy = new.with_name("copy.pdf")
    copy.write_bytes(new.read_bytes() + b"\n%\n")
    try:
        options = ("--classifier", "svm", "--backbone", "timm:test_resnet2", "--weights", "none")
        done = run("classify", copy, "--artifacts", artifacts, *options)
        assert one_line(done)
    finally:
        copy.unlink()


def test_wrong_usage_is_exit_code_2() -> None:
    """Unknown options and missing arguments are usage errors."""
    assert run_installed("embed").returncode == 2
    assert run("fit-svm", "--no-such-option").returncode == 2


def test_dry_run_writes_nothing(pile: Path, tmp_path: Path) -> None:
    """`--dry-run` tells documents and about how long, and leaves the artifacts as they were."""
    plan = values(run("embed", pile, "--dry-run", "--artifacts", tmp_path / "a", "--json", *TINY, *SMALL))
    assert plan["new_documents"] == 15
    assert plan["estimated_pages"] > 15
    assert not (tmp_path / "a").exists()


PAGES = 4_000
"""Two parts' worth, so that a run is still at it when its first part is there."""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_keeps_its_work(stop: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM end the run with exit code 130 and a summary; the next run does the rest, and only that."""
    pile = tmp_path / "pile"
    pile.mkdir()
    with pymupdf.open() as document:
        for number in range(PAGES):
            document.new_page().insert_text((72, 200), f"page {number}", fontsize=60)
        document.save(pile / "long.pdf")
    command = [str(SCRIPT), "embed", str(pile), "--artifacts", str(tmp_path / "a"), "--json", *TINY, *SMALL]
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background jobs inherit its being ignored
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, before)
        deadline = time.monotonic() + 60
        while not list((tmp_path / "a").glob("features/*/part-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(stop)
        printed, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    stopped = json.loads(printed)
    assert stopped["interrupted"] is True
    finished = values(run("embed", pile, "--artifacts", tmp_path / "a", "--json", *TINY, *SMALL))
    assert finished["embedded"] + stopped["embedded"] == PAGES
    assert finished["skipped"] == stopped["embedded"]


def test_hostile_names_are_printed_safely(tmp_path: Path) -> None:
    """Escape sequences and line ends in a file name reach neither the terminal nor the CSV as such."""
    name = "\x1b[31mred\n=cmd|evil\u202e.pdf"
    (tmp_path / name).write_bytes(b"nothing")
    done = run("embed", tmp_path / name, "--artifacts", tmp_path / "a", *TINY, *SMALL)
    assert done.returncode == 3
    assert "\x1b" not in done.stderr + done.stdout
    assert "\u202e" not in done.stderr + done.stdout
    assert "red\ufffd=cmd" in done.stderr


def test_map_draws_the_store_and_says_how(artifacts: Path, tmp_path: Path) -> None:
    """The HTML file and the projection are written; JSON tells method, counts and what is left out."""
    out, projector = tmp_path / "map.html", tmp_path / "projector"
    options = ("--artifacts", artifacts, "--method", "pca")
    drawn = values(run("map", *options, "--output", out, "--projector", projector, "--limit", "9", "--json"))
    assert drawn["method"] == "pca"
    assert 0 < drawn["explained_variance"] <= 1
    assert (drawn["pages"], drawn["documents"]) == (9, 9)
    assert drawn["left_out"]["over_limit"] > 0
    assert drawn["thumbnails"]["drawn"] == 9
    assert out.stat().st_size == drawn["size"]
    assert len(list(projector.iterdir())) == 4
    assert "this is a sample" in out.read_text(encoding="utf-8")
    assert "other files" in one_line(run("map", *options, "--output", out, "--projector", tmp_path))
    assert "--pages" in one_line(run("map", *options, "--output", out, "--pages", "x"))
    assert "--method" in one_line(run("map", "--artifacts", artifacts, "--output", out, "--method", "tsne"))
