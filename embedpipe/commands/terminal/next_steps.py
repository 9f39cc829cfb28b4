"""What to do next, in one line at the end of a command, for a person who watches it.

One table: for each command the first line whose condition holds is said. What is known comes from the result of the
task and from what the artifacts hold (`Standing`).
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedpipe.commands.terminal.console import Output

_FEWEST_TYPES = 2
_COMMANDS_THAT_FIT = ("fit-svm", "fit-knn", "fit-head")


@dataclass(frozen=True, slots=True)
class Known:
    """What a line is chosen by.

    Attributes:
        documents: How many are stored.
        labelled: How many of them have a label.
        types: How many types there are labels of.
        classifiers: Names of those that are fitted.
        scans: Stored scans and photos without a label.
        knows_scans: Scans count among the documents that the classifier was measured on, or it learnt variants.
        doubtful: Answers that are not ok.
        answered: Answers.
        planned: Files that a plan would move, link or put back.
        found: Rows of a table that was made: suggestions, doubtful labels, families, parts of piles.
        file: A table that was written and has a column `label`, or the page of `review`, or "".
        folder: Where files were sorted to, or "".
        inputs: What the command was given, as it can be typed again.
        fit: The command that fits the classifier again; of `finetune`, the network.
        commands: Names of all commands that there are.
        where: Options that say where the artifacts are, or "".
    """

    documents: int = 0
    labelled: int = 0
    types: int = 0
    classifiers: tuple[str, ...] = ()
    scans: int = 0
    knows_scans: bool = True
    doubtful: int = 0
    answered: int = 0
    planned: int = 0
    found: int = 0
    file: str = ""
    folder: str = ""
    inputs: str = "INBOX"
    fit: str = "fit-svm"
    commands: frozenset[str] = field(default_factory=frozenset)
    where: str = ""

    @property
    def unlabelled(self) -> int:
        """Stored documents without a label."""
        return self.documents - self.labelled


@dataclass(frozen=True, slots=True)
class _Line:
    when: Callable[[Known], bool]
    says: str


def _always(_: Known) -> bool:
    return True


_LABEL_FIRST = (
    _Line(
        lambda k: not k.documents,
        "nothing is stored yet: `embed{where} FOLDER` reads PDFs, scans and pictures",
    ),
    _Line(
        lambda k: not k.types,
        "label some of the {documents} documents: `suggest{where} --csv to-label.csv` names the most useful ones; fill "
        "in its column label, then `label{where} to-label.csv`; or `label{where} FOLDER` where folders are types",
    ),
    _Line(
        lambda k: k.types < _FEWEST_TYPES,
        "label documents of a second type, for a classifier takes two: {labelled} of {documents} are labelled, all of "
        "one type",
    ),
)
_FIT = _Line(
    _always,
    "`{fit}{where}` learns the {types} types from {labelled} labelled documents; {unlabelled} have no label",
)
_CLASSIFY = _Line(
    _always, "`classify{where} INBOX --sort-into sorted` copies the files of a folder to a folder for each type"
)

_REVIEW = _Line(
    lambda k: k.unlabelled > 0,
    "`classify{where} INBOX --sort-into sorted` copies the files of a folder to a folder for each type; `review{where} "
    "review.html` shows those of the {unlabelled} stored documents without a label that it is not sure of",
)
_FITTED = (
    _Line(
        lambda k: k.scans > 0 and not k.knows_scans,
        "it has learnt no scans, and {scans} stored ones have no label: `{fit}{where} --augment 4` makes it guess them "
        "better; label 19 of them to have sure answers",
    ),
    _REVIEW,
    _CLASSIFY,
)
STEPS = {
    "embed": (
        *_LABEL_FIRST,
        _Line(lambda k: not k.classifiers, _FIT.says),
        _Line(
            lambda k: k.unlabelled > 0,
            "{unlabelled} of {documents} documents have no label: `classify{where} {inputs}` says what they are, "
            "`suggest{where} --csv to-label.csv` which ones to label",
        ),
        _FIT,
    ),
    "label": (*_LABEL_FIRST, _FIT),
    "info": (*_LABEL_FIRST, _Line(lambda k: not k.classifiers, _FIT.says), _REVIEW, _CLASSIFY),
    "demo": (
        _Line(_always, "`embed FOLDER --label-by folder` reads your documents; folders below FOLDER are their types"),
    ),
    "finetune": (_Line(_always, "`embed{where} {inputs} --backbone {fit}` makes features with it"),),
    "map": (
        _Line(_always, "`similar{where} FILE#page=1` finds pages that look like one; `families{where}` lists layouts"),
    ),
    "fit": _FITTED,
    "add-type": _FITTED,
    "evaluate": (_Line(_always, "`check-labels{where}` names labels that are likely wrong, before more are given"),),
    "classify": (
        _Line(
            lambda k: k.found > 0 and k.doubtful > 0,
            "{doubtful} of {found} parts are less than half sure to be exactly one document: look at them; --write "
            "DIR writes the parts as files, and at the page of `serve{where}` cuts can be moved first",
        ),
        _Line(
            lambda k: k.found > 0 and not k.folder,
            "`classify{where} {inputs} --split --write parts` writes the parts as files",
        ),
        _Line(lambda k: not k.answered, ""),
        _Line(
            lambda k: k.doubtful > 0 and "review" in k.commands and bool(k.file),
            "{doubtful} of {answered} answers are not sure: `review{where} review.html --from {file}` shows them to "
            "decide about, and `label{where}` takes what it saves",
        ),
        _Line(
            lambda k: k.doubtful > 0 and bool(k.folder),
            "{doubtful} of {answered} answers are not sure: move what is in {folder}/_ambiguous and _novel to the "
            "right types, `embed{where} {inputs}`, then `label{where} {folder}` and `{fit}{where}`",
        ),
        _Line(
            lambda k: k.doubtful > 0 and bool(k.file),
            "{doubtful} of {answered} answers are not sure: fill in the column label of {file}, then "
            "`label{where} {file}` and `{fit}{where}`",
        ),
        _Line(
            lambda k: not k.folder,
            "`classify{where} {inputs} --sort-into sorted` copies them to a folder for each type",
        ),
    ),
    "review": (
        _Line(lambda k: not k.found, ""),
        _Line(
            lambda k: k.file.lower().endswith(".xlsx"),
            "fill in the column label of {file}, then `label{where} {file}` and `{fit}{where}`",
        ),
        _Line(
            _always,
            "open {file} in a browser and choose; give what it saves to `label{where} review-labels.csv`, then "
            "`{fit}{where}`",
        ),
    ),
    "suggest": (
        _Line(lambda k: not k.found, ""),
        _Line(lambda k: bool(k.file), "fill in the column label of {file}, then `label{where} {file}`"),
        _Line(_always, "`suggest{where} --csv to-label.csv` writes them as a table to fill in"),
    ),
    "check-labels": (
        _Line(lambda k: not k.found, ""),
        _Line(
            lambda k: bool(k.file),
            "fill in the column label of {file} where a label is wrong, then `label{where} {file}`",
        ),
        _Line(_always, "`check-labels{where} --csv doubtful.csv` writes them as a table to correct"),
    ),
    "families": (
        _Line(
            lambda k: k.found > 0 and k.unlabelled > 0,
            "`label{where} --cluster` lists families of whole documents to label at once; it has numbers of its own",
        ),
    ),
    "dedupe": (
        _Line(
            lambda k: bool(k.folder),
            "`dedupe{where} --move-to {folder} --undo --apply` puts them back, by the ledger in that folder",
        ),
        _Line(lambda k: k.planned > 0, ""),  # the plan says so itself
        _Line(
            lambda k: k.found > 0,
            "`dedupe{where} --move-to DIR` says which whole documents would be put aside; nothing is deleted",
        ),
    ),
    "index": (_Line(_always, "`similar{where} FILE#page=1 --png similar.png` finds pages that look like one"),),
}
"""By command; the first line whose condition holds is said, and none where that is empty."""


def next_step(command: str, known: Known) -> str:
    """What to do after a command, or ""."""
    name = "fit" if command in _COMMANDS_THAT_FIT else command
    line = next((line.says for line in STEPS.get(name, ()) if line.when(known)), "")
    values = {field.name: getattr(known, field.name) for field in fields(known)}
    return line.format(**values, unlabelled=known.unlabelled)


def typed(words: list[str]) -> str:
    """Words as a shell takes them."""
    return " ".join(map(shlex.quote, words))


def say_next(output: "Output", command: str, known: Callable[[], Known]) -> None:
    """Says what to do next, where a person watches; what that takes is only looked up then."""
    if output.watched and (line := next_step(command, known())):
        output.line(f"next: {line}")
