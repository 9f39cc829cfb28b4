"""New files of a folder, embedded, classified and sorted as they come, until it is stopped.

Each batch goes through `embed`, `classify` and `sort_into` as the commands do it, and holds their locks only meanwhile.
A file is noted as taken once all of that is done, so that a kill at any moment leaves nothing out.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from embedpipe.core.display import path_to_text
from embedpipe.core.errors import BusyError, EmbedpipeError
from embedpipe.core.files import held
from embedpipe.core.records import WHOLE_FILE, PageFailure, Prediction
from embedpipe.embedding.arrivals import Arrivals, Journal
from embedpipe.embedding.intake import Intake, Report
from embedpipe.embedding.notices import Notices
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.walking import FoundFile
from embedpipe.store.labels import Labels
from embedpipe.store.page_extras import TABLES
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import classify, embed, sort_into
from embedpipe.tasks.classify import DocumentVerdict

if TYPE_CHECKING:
    from embedpipe.backbones.engines import Backbone
    from embedpipe.classifiers.bundles import ClassifierBundle
    from embedpipe.classifiers.calibration.decisions import Rule
    from embedpipe.classifiers.saved.answering import Answerer
    from embedpipe.core.records import Identity

BATCH = 100
"""Most files that are taken at once, so that answers do not wait for thousands of others."""

_RELOOK = 600.0  # seconds after which all is looked at again, should a notice ever be lost
_BUSY = (1.0, 5.0)  # seconds between tries while another process writes: the first, and the longest
_TROUBLE = (5.0, 60.0)  # likewise where the disk is full, or something else is in the way
_FOLDER = "watched"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of `watch`.

    Attributes:
        folder: The folder.
        classifier: Gives the classifier that is in use now, and what it is called in tables of answers; asked for
            before each batch.
        load: Loads the network of a space; called once for each.
        settings: How documents are read.
        keep: What is kept of pages besides features.
        rule: What is asked of the answers; the default error rate if not given.
        sort: The sorted folder; None for none.
        poll: Seconds between two looks, without notices of the system; None for notices where they work.
        settle: Seconds for which a file must not change.
    """

    folder: str
    classifier: "Callable[[], tuple[ClassifierBundle | Answerer, str]]"
    load: "Callable[[Identity], Backbone]"
    settings: Settings = field(default_factory=Settings)
    keep: Collection[str] = tuple(TABLES)
    rule: "Rule | None" = None
    sort: sort_into.Wish | None = None
    poll: float | None = None
    settle: float = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one file.

    Attributes:
        path: The file.
        document: SHA-256 of its content; "" where it could not be read.
        prediction: The answer; of a file with the content of another one its status is "failed" and `same_as` is set.
        message: Why it has no answer, or no copy.
        same_as: The other file, or "".
        copy: Its copy in the sorted folder, or "".
        answered_by: Name and version of the classifier.
    """

    path: str
    document: str
    prediction: Prediction
    message: str = ""
    same_as: str = ""
    copy: str = ""
    answered_by: str = ""

    @property
    def status(self) -> str:
        """As of a prediction, or "duplicate"."""
        return "duplicate" if self.same_as else self.prediction.status

    def as_json(self) -> dict[str, Any]:
        """As the command line prints it."""
        told = self.prediction
        values = {
            "path": path_to_text(self.path),
            "type": told.label,
            "confidence": round(told.confidence, 4),
            "status": self.status,
            "candidates": [{"type": label, "confidence": round(p, 4)} for label, p in told.candidates],
            "document": self.document or None,
            "answered_by": self.answered_by,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        more = {"message": self.message, "same_as": path_to_text(self.same_as), "copy": path_to_text(self.copy)}
        return values | {name: text for name, text in more.items() if text}


def watch(
    workspace: Workspace,
    wish: Wish,
    tell: Callable[[Answer], None],
    note: Callable[[str], None],
    stop: threading.Event | None = None,
) -> int:
    """Takes the files of a folder as they come, those first that lie there already, until it is stopped.

    Args:
        workspace: Gets the features; where classifiers are.
        wish: What is asked.
        tell: Called with what became of each file.
        note: Called with a line about everything else.
        stop: Ends it; Ctrl-C and SIGTERM do as well, by KeyboardInterrupt.

    Returns:
        How many files were taken.

    Raises:
        EmbedpipeError: The folder is not there, there is no classifier, the network cannot be loaded, or another
            process watches the folder for these artifacts.
    """
    workspace.claim()
    root, apart = os.path.realpath(wish.folder), ""
    if not os.path.isdir(root):
        raise EmbedpipeError(f"{path_to_text(wish.folder)} is no folder: name one to watch")
    if wish.sort is not None:
        apart = os.path.realpath(wish.sort.folder)
        if (root + os.sep).startswith(apart.rstrip(os.sep) + os.sep):
            raise EmbedpipeError(
                f"{path_to_text(wish.folder)} is watched, and lies in {apart}: sort into another folder"
            )
    key = hashlib.sha256(os.fsencode(f"{root}\n{apart}")).hexdigest()[:16]
    with _alone(workspace, key, wish.folder):
        run = _Run(workspace, wish, tell, note, stop or threading.Event())
        run.start(Journal(workspace.root / _FOLDER / f"{key}.jsonl"), apart)
        run.loop()
        return run.taken


def _alone(workspace: Workspace, key: str, folder: str) -> AbstractContextManager[None]:
    watched, root = path_to_text(folder), workspace.root
    return held(
        root / _FOLDER / f"{key}.lock",
        lambda advice: f"another process watches {watched} for {root}: {advice or 'stop it first'}",
        lambda why: f"cannot write to {root}: {why}",
    )


class _Run:
    """One call of `watch`."""

    def __init__(
        self,
        workspace: Workspace,
        wish: Wish,
        tell: Callable[[Answer], None],
        note: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        self._workspace, self._wish = workspace, wish
        self._tell, self._note, self._stop = tell, note, stop
        self._backbone: Backbone | None = None
        self._last = ""
        self._said: dict[str, str] = {}
        self.taken = 0

    def start(self, journal: Journal, apart: str) -> None:
        """Opens all that is needed, so that what cannot work fails at once."""
        bundle, self._last = self._wish.classifier()
        self._network(bundle)
        settings = self._wish.settings
        self._arrivals = Arrivals(
            os.path.abspath(self._wish.folder),
            journal,
            exclude=settings.exclude,
            follow_links=settings.follow_links,
            settle=self._wish.settle,
            apart=apart,
        )

    def loop(self) -> None:
        """Looks, takes what is ready, and waits."""
        folder, mark = os.path.abspath(self._wish.folder), None
        while not self._stop.is_set():
            with suppress(OSError):
                mark = _identity(folder)
            with Notices(folder, self._wish.poll, self._stop) as notices:
                how = f"looked at every {notices.interval:g} s ({notices.why})" if notices.why else "by notices"
                self._note(f"watching {path_to_text(self._wish.folder)}, {how}, with {self._last}; Ctrl-C ends it")
                self._follow(notices, folder, mark)
            while not self._stop.is_set() and not os.path.isdir(folder):
                self._once("folder", f"{path_to_text(self._wish.folder)} is not there: waiting until it is back")
                self._stop.wait(_BUSY[1])
            self._said.pop("folder", None)

    def _follow(self, notices: Notices, folder: str, mark: object) -> None:
        """Watches until it is stopped, or another folder has taken the place of this one."""
        due = confirm = 0.0
        while not self._stop.is_set():
            try:
                if _identity(folder) != mark:
                    return
                if time.monotonic() >= due:
                    self._look()
                    now = time.monotonic()
                    due = now + (notices.interval if notices.why else _RELOOK)
                    if confirm > now:  # what came into a folder as it was made has no notice of its own
                        due = min(due, confirm + self._arrivals.walk_in())
            except (OSError, EmbedpipeError):
                return  # the folder is gone
            self._take()
            waits = [due - time.monotonic(), self._arrivals.seconds()]
            woken = notices.wait(max(0.05, min(wait for wait in waits if wait is not None)))
            if woken == "changed":
                now = time.monotonic()
                due, confirm = min(due, now + self._arrivals.walk_in()), now + self._wish.settle
            for path in self._arrivals.held_open():
                self._note(f"waiting until it is closed: {path_to_text(path)} is open for writing")

    def _look(self) -> None:
        """Walks the folder, and notes what is gone."""
        self._arrivals.walk()
        for item in self._arrivals.walked:
            if isinstance(item, PageFailure):
                self._once(item.page.source, f"{path_to_text(item.page.source)}: {item.message}")
        if self._arrivals.gone:
            self._patiently(self._leave, [])

    def _leave(self, _: object) -> None:
        """Notes in the sources what is gone, as `embed` does."""
        with self._workspace.writing("watch"):
            sources, report = self._workspace.sources(), Report()
            Intake([os.path.abspath(self._wish.folder)], self._wish.settings, sources, report).settle_by(
                self._arrivals.walked, self._arrivals.gone
            )
            if report.gone:
                sources.save()
                self._note(
                    f"files that are gone: {len(report.gone)}; nothing is learnt from them and no search finds them"
                )
        self._arrivals.left()

    def _take(self) -> None:
        """Takes all files that are ready, some at a time."""
        ready = self._arrivals.ready()
        for start in range(0, len(ready), BATCH):
            batch = self._arrivals.unchanged(ready[start : start + BATCH])
            if batch and not self._stop.is_set():
                self._patiently(self._batch, batch)

    def _patiently(self, work: Callable[[list[FoundFile]], None], files: list[FoundFile]) -> None:
        """Does some work, and tries again where another process or a full disk is in the way; says so once."""
        delay = 0.0
        while not self._stop.is_set():
            try:
                work(files)
            except BusyError as error:
                self._once("trouble", f"waiting: {error}")
                first, most = _BUSY
            except (EmbedpipeError, OSError) as error:
                self._once("trouble", f"waiting: {error}; it is tried again until it works")
                first, most = _TROUBLE
            except Exception as error:  # one file must not stop the others
                if len(files) > 1:
                    for one in files:
                        self._patiently(work, [one])
                elif files:
                    self._give_up(files[0], error)
                else:
                    raise
                return
            else:
                if self._said.pop("trouble", None):
                    self._note("it goes on")
                return
            delay = min(most, max(first, 2 * delay))
            self._stop.wait(delay)

    def _give_up(self, found: FoundFile, error: Exception) -> None:
        message = f"unexpected {type(error).__name__}: {error}; please report it"
        self._tell(Answer(found.path, "", Prediction(None, 0.0, "failed"), message))
        self._arrivals.done([found])

    def _once(self, what: str, text: str) -> None:
        """Says something unless it was what was said of this last."""
        if self._said.get(what) != text:
            self._said[what] = text
            self._note(text)

    def _network(self, bundle: "ClassifierBundle | Answerer") -> "Backbone":
        if self._backbone is None or self._backbone.identity != bundle.identity:
            self._backbone = None  # two at once may not fit into the memory
            self._backbone = self._wish.load(bundle.identity)
            bundle.require(self._backbone.identity)
        return self._backbone

    def _batch(self, files: list[FoundFile]) -> None:
        """Embeds, classifies and sorts some files, tells what became of them, and notes that they are taken."""
        bundle, answered_by = self._wish.classifier()
        if answered_by != self._last:
            self._note(f"from now on with {answered_by}")
            self._last = answered_by
        backbone, settings = self._network(bundle), self._wish.settings
        embedded = embed.embed(self._workspace, _linked(files), backbone, settings=settings, keep=self._wish.keep)
        if embedded.interrupted:
            raise KeyboardInterrupt
        failed = {f.page.source: f for f in embedded.failures if f.page.page_index == WHOLE_FILE}
        verdicts, report = classify.classify(
            self._workspace,
            _linked([one for one in files if one.path not in failed]),  # what hangs need not hang twice
            bundle,
            lambda: backbone,
            rule=self._wish.rule,
            settings=replace(settings, trust_mtime=True),
        )
        verdicts = classify.with_labels(verdicts, self._labels())
        verdicts += [_failed_verdict(failure) for failure in failed.values()]
        answers = _answers(verdicts, report, answered_by)
        answers, again = self._sorted(answers, verdicts, report, answered_by)
        for answer in answers.values():
            if self._said.get(answer.path) != answer.message or not answer.message:
                self._tell(answer)
            self._said.pop(answer.path, None)
            if answer.path in again:
                self._said[answer.path] = answer.message
        self._arrivals.later((one for one in files if one.path in again), _TROUBLE[1])
        whole = [one for one in files if one.path not in again]
        self._arrivals.done(whole)
        self.taken += len(answers) - len(again)

    def _labels(self) -> Labels:
        """What people labelled by now; nothing where that cannot be read."""
        try:
            return self._workspace.labels()
        except EmbedpipeError as error:
            self._note(f"warning: labels are not looked at: {error}")
            return Labels()

    def _sorted(
        self, answers: dict[str, Answer], verdicts: list[DocumentVerdict], report: Report, answered_by: str
    ) -> tuple[dict[str, Answer], set[str]]:
        """Answers with their copies, and the files that have to be tried again."""
        unread = {path for path, answer in answers.items() if answer.message.startswith("unreadable: ")}
        if self._wish.sort is None:
            return answers, unread
        wish = replace(self._wish.sort, answered_by=answered_by, limits=self._wish.settings.limits)
        done = sort_into.sort_into(verdicts, report.copies, wish)
        for entry in done.entries:
            answer = answers.get(entry.source)
            if answer is not None and entry.copy:
                answers[entry.source] = replace(answer, copy=str(done.folder / entry.copy))
        for path, why in done.failures:
            if path in answers:
                answers[path] = replace(answers[path], message=f"{why}; it is tried again")
        if done.unwritten:
            self._once("ledger", f"{done.unwritten}; the next file brings the ledger up to date")
        return answers, unread | {path for path, _ in done.failures}


def _identity(folder: str) -> object:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _linked(files: list[FoundFile]) -> list[FoundFile]:
    """Files that are other names of files among them; what is another name of a file elsewhere is taken by itself."""
    paths = {one.path for one in files}
    return [one if one.same_as in paths else replace(one, same_as=None) for one in files]


def _failed_verdict(failure: PageFailure) -> DocumentVerdict:
    page = failure.page
    message = f"{failure.kind}: {failure.message}"
    return DocumentVerdict(page.source, page.document_sha256, Prediction(None, 0.0, "failed"), (), message)


def _answers(verdicts: list[DocumentVerdict], report: Report, answered_by: str) -> dict[str, Answer]:
    """The answers by path, in the order met; files with the content of another one name it."""
    found = {}
    for v in verdicts:
        message = v.message or next(
            (page.message for page in v.pages if v.prediction.label is None and page.message), ""
        )
        found[v.path] = Answer(v.path, v.document_sha256, v.prediction, message, answered_by=answered_by)
    first = {answer.document: answer for answer in found.values()}
    for copy in report.copies:
        same = first.get(copy.sha256)
        found[copy.path] = Answer(
            copy.path,
            copy.sha256,
            same.prediction if same else Prediction(None, 0.0, "failed"),
            same_as=same.path if same else "another file",
            answered_by=answered_by,
        )
    return found
