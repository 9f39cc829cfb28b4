"""`label`, `suggest` and `check-labels`: where labels come from, what to label next, and what is likely wrong."""

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.base import (
    DONE,
    SOME_FAILED,
    Classifier,
    begin,
    command,
    open_classifier,
    say_next,
    store_and_classifier,
)
from embedpipe.commands.label_files import LabelsFile, take_labels
from embedpipe.commands.printing import count_labels, print_missing
from embedpipe.commands.reviewing import template_option, write_template
from embedpipe.commands.terminal.options import AllowMissing, Common, Space
from embedpipe.commands.terminal.targets import file_option
from embedpipe.commands.terminal.widths import shortened
from embedpipe.core.errors import UsageError
from embedpipe.core.outputs import PNG, csv_of

if TYPE_CHECKING:
    from embedpipe.classifiers.lessons.recipes import TrainingRecipe
    from embedpipe.commands.terminal.console import Output
    from embedpipe.store.features import FeatureStore
    from embedpipe.store.label_lists.columns import Wish
    from embedpipe.store.labels import Labels
    from embedpipe.store.workspace import Workspace

_LINES = 20
_COLUMNS = ("path", "label", "group", "page")


@dataclass(frozen=True)
class Listing:
    """Of a list of labels."""

    root: Annotated[
        str | None, typer.Option(help="Folder that the paths of the list are relative to.", metavar="DIR")
    ] = None
    sheet: Annotated[str | None, typer.Option(help="Sheet of a workbook, if not the first with a header.")] = None
    columns: Annotated[
        list[str],
        typer.Option(
            "--columns",
            metavar="path=NAME,label=NAME",
            help="Names of the list's columns; also group, page.",
        ),
    ] = field(default_factory=list)
    partial: Annotated[
        bool, typer.Option("--partial", help="Take the lines of the list that are right although others are not.")
    ] = False
    bad_lines: Annotated[
        Path | None,
        file_option(csv_of("embedpipe.tasks.label:BAD_COLUMNS"), "Write the lines that give no label, with reasons."),
    ] = None

    def wish(self) -> "Wish":
        """What is said of the list; raises UsageError for columns that nobody reads."""
        from embedpipe.store.label_lists.columns import Wish

        names = {}
        for text in self.columns:
            for pair in re.split(rf",(?=\s*(?:{'|'.join(_COLUMNS)})\s*=)", text):
                ours, mark, name = (part.strip() for part in pair.partition("="))
                if ours not in _COLUMNS or not (mark and name):
                    raise UsageError(f"--columns {text}: write path=NAME,label=NAME; also {' and '.join(_COLUMNS[2:])}")
                names[ours] = name
        if self.root is not None and not Path(self.root).is_dir():
            raise UsageError(f"--root {self.root} is no folder")
        return Wish(self.root, self.sheet, names, self.partial)


@command("label")
def label(
    common: Common,
    space: Space,
    listing: Listing,
    source: Annotated[
        str | None,
        typer.Argument(
            help="A folder of type folders, or a list (.xlsx, CSV); with --cluster, families such as 3,7 or their CSV; "
            "with --undo, the number of a version."
        ),
    ] = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Label families of one layout at once; without SOURCE, list them.")
    ] = False,
    as_type: Annotated[str | None, typer.Option("--as", metavar="TYPE", help="The type of these families.")] = None,
    none: Annotated[
        bool,
        typer.Option("--none", help="All of SOURCE is none of the types: this teaches what is novel, and is no type."),
    ] = False,
    csv: Annotated[
        Path | None,
        file_option(
            csv_of("embedpipe.tasks.label_cluster:COLUMNS"), "Write the families, with a label column to fill in."
        ),
    ] = None,
    png: Annotated[
        Path | None, file_option(PNG, "Draw the families into a PNG file.", "--png", "--contact-sheet")
    ] = None,
    template: Annotated[Path | None, template_option()] = None,
    limit: Annotated[int | None, typer.Option(help="With --template: most documents.", min=1)] = None,
    classifier: Classifier = None,
    allow_missing: AllowMissing = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Go back to the labels before the last change, or to a version.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="List the versions of the labels.")] = False,
) -> int:
    """Take labels from a folder tree (folder = type) or a list (path,label; page and group optional)."""
    from embedpipe.store.labels import NONE

    workspace, output = begin(common)
    if undo or history:
        others = (cluster, as_type, none, csv, png, template, undo and history, history and source is not None)
        if any(others):
            raise UsageError("--undo, with a version or without, and --history go with no other option")
        return _undo(workspace, source, output) if undo else _list_versions(workspace, output)
    if template is not None or limit is not None:
        out = _checked_template(template, alone=source is None and not (cluster or none))
        return write_template(workspace, space, classifier, limit, out, output)
    if not cluster:
        if source is None or as_type or csv or png:
            raise UsageError("give a folder of type folders or a list; --as, --csv and --png need --cluster")
        count, labels = take_labels(
            workspace, source, output, none=none, wish=listing.wish(), bad_lines=listing.bad_lines
        )
    else:
        if none and as_type:
            raise UsageError(f"--none or --as {as_type}? these families are of one type or of none")
        store = workspace.store(space.backbone, space.space)
        if source is None:
            if none:
                raise UsageError("which families are none of the types? write label --cluster 3,7 --none")
            return _list_families(workspace, store, csv, png, output)
        as_type = NONE if none else as_type
        count, labels = _label_families(workspace, store, source, as_type, allow_missing=allow_missing)
    bad = [asdict(line) for line in labels.bad]
    output.result({"labelled": count, "types": labels.types(), "none": labels.none, "bad_lines": bad})
    output.line(f"{count} labelled; {count_labels(labels.types(), labels.none)}")
    say_next(common, output)
    return SOME_FAILED if bad else DONE


def _checked_template(template: Path | None, *, alone: bool) -> Path:
    """The file of --template; refuses what does not go with it."""
    if template is None:
        raise UsageError("--limit goes with --template")
    if not alone:
        raise UsageError("--template writes what has no label yet: give no SOURCE with it")
    return template


def _undo(workspace: "Workspace", version: str | None, output: "Output") -> int:
    from embedpipe.tasks import label as label_task

    if version is not None and not version.isdecimal():
        raise UsageError(f"--undo {version}: write the number of a version, as `label --history` lists them")
    done = label_task.undo(workspace, None if version is None else int(version))
    types = done.labels.types()
    output.result(
        {
            "version": done.now.number,
            "left": done.left.number,
            "added": done.added,
            "changed": done.changed,
            "removed": done.removed,
            "types": types,
            "none": done.labels.none,
        }
    )
    output.line(
        f"labels are as in version {done.now.number} ({done.now.when}, {done.now.command}): {done.added} are back, "
        f"{done.changed} changed, {done.removed} gone; {count_labels(types, done.labels.none)}"
    )
    output.line(f"`label --undo` goes further back, `label --undo {done.left.number}` forward again")
    return DONE


def _list_versions(workspace: "Workspace", output: "Output") -> int:
    from embedpipe.tasks import label as label_task

    values = label_task.history_json(workspace)
    output.result(values)
    keys = ("version", "when", "command", "labels", "added", "changed", "removed")
    output.table(
        ("", *keys, "made from"),
        [
            (
                "in use" if v["version"] == values["in_use"] else "",
                *("-" if v[key] is None else v[key] for key in keys),
                v["before"] or "-",
            )
            for v in values["versions"]
        ],
    )
    if values["in_use"] is None and values["versions"]:
        output.line("labels.csv was changed by hand since")
    return DONE


def _label_families(
    workspace: "Workspace", store: "FeatureStore", source: str, as_type: str | None, *, allow_missing: bool
) -> "tuple[int, Labels]":
    from embedpipe.classifiers.lessons import missing
    from embedpipe.tasks import label_cluster

    if as_type is None and not Path(source).is_file():
        raise UsageError(f"which type are the documents of {source}? write label --cluster {source} --as TYPE")
    if as_type is None:
        types = label_cluster.read(workspace, store, Path(source))
    else:
        types = dict.fromkeys(label_cluster.numbers(source), as_type)
        missing.lost_pages(store, allow=allow_missing)  # without them, families may have other numbers than were listed
    return label_cluster.label(workspace, store, types), workspace.labels()


def _list_families(
    workspace: "Workspace", store: "FeatureStore", csv: Path | None, png: Path | None, output: "Output"
) -> int:
    from embedpipe.classifiers.lessons import missing
    from embedpipe.tasks import label_cluster

    with output.busy("comparing"):
        found = label_cluster.find(workspace, store)
    lost = missing.lost_pages(store, without="they are in no family")
    if csv is not None:
        label_cluster.save(found, csv)
        output.notice(f"written: {csv}; fill in its column label, then `label --cluster {csv}`")
    if png is not None:
        label_cluster.draw(workspace, found, png)
        output.notice(f"drawn: {png}")
    values = label_cluster.as_json(found)
    output.result({"families": values, "missing": lost})
    output.table(
        ("family", "to label", "labelled", "example"),
        [
            (
                family["family"],
                len(family["unlabelled"]),
                ", ".join(f"{kind} {n}" for kind, n in family["labelled"].items()) or "-",
                family["unlabelled"][0],
            )
            for family in values
        ],
        shorten={"example": shortened},
    )
    total = sum(len(family["unlabelled"]) for family in values)
    output.line(f"{len(values)} families with {total} documents to label: `label --cluster FAMILY --as TYPE`")
    return DONE


@command("suggest")
def suggest(
    common: Common,
    space: Space,
    n: Annotated[int, typer.Option("-n", help="How many documents.", min=1)] = 20,
    classifier: Classifier = None,
    csv: Annotated[
        Path | None,
        file_option(
            csv_of("embedpipe.tasks.suggest:COLUMNS"), "Write them, with a label column to fill in for `label`."
        ),
    ] = None,
) -> int:
    """List the unlabelled documents that are most useful to label: uncertain, unlike the labelled and each other."""
    from embedpipe.classifiers.lessons import missing
    from embedpipe.tasks import suggest as suggest_task

    workspace, output = begin(common)
    without = "there are several classifiers: with --classifier NAME the uncertain documents come first"
    store, bundle = store_and_classifier(workspace, space, classifier, output, without)
    with output.busy("comparing"):
        found = suggest_task.suggest(workspace, store, n, bundle)
    if csv is not None:
        suggest_task.save(found, csv)
        output.notice(f"written: {csv}; fill in its column label, then `label {csv}`")
    lost = missing.lost_pages(store, without="they are not suggested, and what is like them may be")
    output.result({**suggest_task.as_json(found), "missing": lost})
    output.table(
        ("guess", "pages", "document"),
        [(" / ".join(s.guesses) or "-", s.pages, s.path) for s in found],
        shorten={"document": shortened},
    )
    say_next(common, output, found=len(found), file=str(csv or ""))
    return DONE


@command("check-labels")
def check_labels(
    common: Common,
    space: Space,
    classifier: Classifier = None,
    labels: LabelsFile = None,
    csv: Annotated[
        Path | None,
        file_option(
            csv_of("embedpipe.tasks.check_labels:COLUMNS"),
            "Write what is likely wrong, with a label column to fill in for `label`.",
        ),
    ] = None,
    png: Annotated[
        Path | None, file_option(PNG, "Draw the most doubtful documents into a PNG file.", "--png", "--contact-sheet")
    ] = None,
) -> int:
    """Rank labels that are likely wrong, and find look-alikes across types and groups."""
    from embedpipe.tasks import check_labels as check_labels_task
    from embedpipe.tasks.decide import LabelBook

    workspace, output = begin(common)
    if labels is not None:
        take_labels(workspace, str(labels), output)
    store, recipe = _judge(workspace, space, classifier)
    with output.busy("judging labels"):
        confirmed = LabelBook(workspace).confirmed()  # a file that cannot be read is told at once
        findings = check_labels_task.unconfirmed(confirmed, check_labels_task.check(workspace, store, recipe))
    if csv is not None:
        check_labels_task.save(findings, csv)
        output.notice(f"written: {csv}; fill in its column label where labels are wrong, then `label {csv}`")
    if png is not None:
        check_labels_task.draw(workspace, findings, png)
        output.notice(f"drawn: {png}")
    values = check_labels_task.as_json(findings)
    output.result(values)
    _print_doubts(values, output)
    _print_twins(values, output)
    if findings.missing is not None:
        print_missing(findings.missing, output)
    say_next(common, output, found=len(values["documents"]), file=str(csv or ""))
    return DONE


def _judge(workspace: "Workspace", space: Space, classifier: str | None) -> "tuple[FeatureStore, TrainingRecipe]":
    """The features, and the classifier that judges labels: made as the named one, else the one that judges best."""
    from embedpipe.classifiers.lessons.recipes import TrainingRecipe

    if classifier is None:
        return workspace.store(space.backbone, space.space), TrainingRecipe("head")
    bundle = open_classifier(workspace, classifier)
    store = workspace.store(space=bundle.identity.space)
    bundle.require(store.identity)
    return store, TrainingRecipe.of(bundle.fitted_on)


def _print_doubts(values: dict[str, Any], output: "Output") -> None:
    documents = values["documents"]
    output.line(
        f"{len(documents)} of {values['documents_checked']} documents and {len(values['pages'])} of "
        f"{values['pages_checked']} pages look like another type to classifiers that never saw their group"
    )
    output.table(
        ("labelled", "probability", "looks like", "probability", "document"),
        [
            (d["label"], f"{d['self_confidence']:.0%}", d["suggested"], f"{d['suggested_confidence']:.0%}", d["path"])
            for d in documents[:_LINES]
        ],
        shorten={"document": shortened},
    )
    if len(documents) > _LINES:
        output.line(f"... and {len(documents) - _LINES} more: --csv FILE writes them all")
    if values["confirmed"]:
        output.line(f"{values['confirmed']} documents that look so were confirmed to be as labelled: they are left out")
    if values["seen_documents"]:
        output.line(
            f"{values['seen_documents']} documents were not judged: the network itself was trained on their labels, "
            "right or wrong"
        )
    if values["unjudged"]:
        output.line(f"only one group each, so not judged: {', '.join(values['unjudged'])}")


def _print_twins(values: dict[str, Any], output: "Output") -> None:
    for key, text in (
        ("across_types", "with pages that look the same have two types: one label may be wrong"),
        (
            "across_groups",
            "of one type with pages that look the same are in two groups: one group keeps the figures honest",
        ),
    ):
        if values[key]:
            output.line(f"{len(values[key])} pairs of documents {text}")
        for twins in values[key][:_LINES]:
            one, other = (f"{p['path']}#page={p['page']} ({p['label']})" for p in twins["pages"])
            output.line(f"  {twins['score']:.3f}  {one}  {other}")
