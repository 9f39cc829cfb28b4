"""Documents to PDFs: kept ones are found, others are made by a program, several at a time, beside the rendering."""

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from embedpipe.core.cache_folder import Aside
from embedpipe.core.errors import DocumentError
from embedpipe.core.records import Document
from embedpipe.pages.containers.kinds import HEAD
from embedpipe.pages.containers.opening import held_file, words_of
from embedpipe.pages.contract import Limits
from embedpipe.pages.converting import kept, libre_office
from embedpipe.pages.converting.running import Caps, Ended, run
from embedpipe.pages.converting.table import CONVERTERS, Converter, active

_CHUNK = 1 << 20
_LONGEST_TELLING = 200
_VERSION_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Converted:
    """The PDF of a document.

    Attributes:
        path: Where it is; it may be removed ten minutes after it was asked for.
        made_by: The program and its version.
    """

    path: str
    made_by: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A PDF that is to be made: of what, by which program, and where it is kept."""

    document: Document
    converter: Converter
    program: str
    made_by: str
    file: Path


class Conversions:
    """Makes PDFs of documents; a context manager, for programs may be running and folders are to be removed.

    A program that takes several documents at a time (LibreOffice, whose start takes ten times as long as a short
    document) is given those that wait. Where it fails, each that has no PDF is given to it alone: so each outcome is
    that of its own document.

    Args:
        limits: What a conversion may cost.
        at_once: Programs that run at a time.
    """

    def __init__(self, limits: Limits, at_once: int = 1) -> None:
        self._limits = limits
        self._at_once = at_once
        self._stopped = threading.Event()
        self._own = threading.local()
        self._folder: Aside | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Document, Future[Converted]]] = deque()

    def __enter__(self) -> Self:
        """Nothing is started before there is a document."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what is running."""
        self.stop()

    def submit(self, document: Document) -> "Future[Converted]":
        """Converts a document in the background; the future raises DocumentError."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._at_once, "embedpipe-converter")
        future: Future[Converted] = Future()
        self._waiting.append((document, future))
        self._pool.submit(self._next)
        return future

    def stop(self) -> None:
        """Ends what is running, and removes what was not kept."""
        self._stopped.set()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self._folder is not None:
            self._folder.cleanup()

    def convert(self, document: Document) -> Converted:
        """The PDF of a document, as it is kept or made now.

        Raises:
            DocumentError: There is no program for it, or none comes of it: see `records.FAILURES`.
        """
        (made,) = self._convert([document])
        if isinstance(made, BaseException):
            raise made
        return made

    def _next(self) -> None:
        """Converts the documents that have waited longest, as many as their program takes at a time."""
        taken = []
        with self._lock:
            if self._waiting:
                taken = [self._waiting.popleft()]
                converter = active().get(taken[0][0].reader)
                while self._waiting and len(taken) < (converter.several if converter else 1):
                    if self._waiting[0][0].reader != taken[0][0].reader:
                        break
                    taken.append(self._waiting.popleft())
        for (_, future), made in zip(taken, self._convert([one for one, _ in taken]), strict=True):
            if isinstance(made, BaseException):
                future.set_exception(made)
            else:
                future.set_result(made)

    def _convert(self, documents: list[Document]) -> list[Converted | BaseException]:
        """The PDFs of documents of one reader, or why there are none."""
        found: list[Converted | BaseException | _Wanted] = []
        for document in documents:
            try:
                found.append(_found(document))
            except Exception as error:  # noqa: BLE001 - raised where the PDF is asked for
                found.append(error)
        wanted = [one for one in found if isinstance(one, _Wanted)]
        together = self._together(wanted) if len(wanted) > 1 else {}
        results: list[Converted | BaseException] = []
        for one in found:
            result = together.get(one.document) or self._alone(one) if isinstance(one, _Wanted) else one
            results.append(result)
        return results

    def _together(self, wanted: list[_Wanted]) -> dict[Document, Converted | BaseException]:
        """What comes of several documents at a time; those that are missing are to be converted alone."""
        try:
            return self._made(wanted)
        except Exception:  # noqa: BLE001 - whatever it is, each gets its own outcome when it is given to the program alone
            return {}

    def _alone(self, wanted: _Wanted) -> Converted | BaseException:
        try:
            return self._made([wanted])[wanted.document]
        except OSError as error:
            message = f"the folder for temporary files cannot be written: {error.strerror or error}"
            return DocumentError("unreadable", message)
        except Exception as error:  # noqa: BLE001 - raised where the PDF is asked for
            return error

    def _made(self, wanted: list[_Wanted]) -> dict[Document, Converted | BaseException]:
        """Runs the program once.

        Raises:
            DocumentError: The program was ended, or of a single document: it has failed.
            OSError: The folder for temporary files cannot be written.
        """
        results: dict[Document, Converted | BaseException] = {}
        folder = Path(tempfile.mkdtemp(prefix="documents-", dir=self._private()))
        try:
            (folder / "out").mkdir()
            sources = {}
            for number, one in enumerate(wanted, 1):
                source = folder / f"document-{number}{_suffix(one)}"
                try:
                    self._copy(one.document, source)
                    _refuse_locked(source)
                    sources[source] = one
                except DocumentError as error:
                    results[one.document] = error
            if not sources:
                return results
            ended = self._run(wanted[0], list(sources), folder)
            for source, one in sources.items():
                made = _result(folder / "out" / f"{source.stem}.pdf", alone=len(wanted) == 1)
                if made is not None:
                    kept_at = kept.keep(made, one.file, self._private() / "kept")
                    results[one.document] = Converted(str(kept_at), one.made_by)
                elif len(wanted) == 1:
                    raise _failure(one.converter, one.program, source, ended)
            return results
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, wanted: _Wanted, sources: list[Path], folder: Path) -> Ended:
        """Runs a program on some files; its settings are made anew after it was ended."""
        converter, limits, profile = wanted.converter, self._limits, self._profile()
        places = {"outdir": str(folder / "out"), "output": str(folder / "out" / f"{sources[0].stem}.pdf")}
        places |= {"profile": str(profile), "profile_url": profile.as_uri()}
        command = [wanted.program]
        for part in converter.command[1:]:
            inputs = sources if part == "{input}" else sources[:1]
            command += [_filled(part, {**places, "input": str(one)}) for one in inputs]
        caps = Caps(
            converter.seconds or limits.convert_seconds,
            converter.memory_bytes or limits.page_bytes,
            limits.file_bytes,
        )
        try:
            ended = run(command, folder, caps, self._stopped)
        except DocumentError:
            shutil.rmtree(profile, ignore_errors=True)  # what was ended in the middle may have left it broken
            raise
        if ended.code:
            shutil.rmtree(profile, ignore_errors=True)
        return ended

    def _private(self) -> Path:
        with self._lock:
            if self._folder is None:
                self._folder = Aside("convert")
        return self._folder.path

    def _profile(self) -> Path:
        """The folder that this thread's programs keep their settings in."""
        profile: Path | None = getattr(self._own, "profile", None)
        if profile is None or not profile.exists():
            profile = Path(tempfile.mkdtemp(prefix="profile-", dir=self._private()))
            libre_office.write_settings(profile)
            self._own.profile = profile
        return profile

    def _copy(self, document: Document, target: Path) -> None:
        """Copies a document, or a member, and makes sure that it is the one that was found."""
        held = held_file(document.path, self._limits)
        digest = hashlib.sha256()
        try:
            with open(held.path if held else document.path, "rb") as source, open(target, "xb") as file:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
        except OSError as error:
            raise DocumentError("unreadable", f"cannot be read: {error.strerror or error}") from None
        finally:
            if held is not None:
                held.close()
        if digest.hexdigest() != document.sha256:
            raise DocumentError("unreadable", "it changed while it was read; run again when it is at rest")


def _found(document: Document) -> Converted | _Wanted:
    """The PDF that is kept of a document, or how it is to be made; raises DocumentError."""
    converter = active().get(document.reader)
    if converter is None:
        name = CONVERTERS[document.reader].name if document.reader in CONVERTERS else document.reader
        message = f"{name} documents are not converted: --readers, or EMBEDPIPE_READERS, says so"
        raise DocumentError("needs_converter", message)
    program = converter.found()
    if program is None:
        message = f"{converter.name} documents need {converter.made_by}, which is not here: {converter.get}"
        raise DocumentError("needs_converter", message)
    version = version_of(converter, program)
    made_by = f"{converter.made_by} {version}".strip()
    file = kept.place(document.sha256, made_by, converter.command)
    return Converted(str(file), made_by) if kept.find(file) else _Wanted(document, converter, program, made_by, file)


def _suffix(wanted: _Wanted) -> str:
    suffix = os.path.splitext(wanted.document.path)[1].lower()
    return suffix if suffix in wanted.converter.suffixes else wanted.converter.suffixes[0]


def convert(document: Document, limits: Limits) -> Converted:
    """The PDF of one document; raises DocumentError."""
    with Conversions(limits) as conversions:
        made = conversions.convert(document)
        if os.path.dirname(made.path) != str(kept.folder()):
            message = f"{kept.folder()} cannot be written: set EMBEDPIPE_CACHE to a folder that can"
            raise DocumentError("unreadable", message)
        return made


def needs_converting(reader: str) -> bool:
    """Whether a document of such a reader is opened by its PDF."""
    return reader in CONVERTERS or reader in active()


def version_of(converter: Converter, program: str) -> str:
    """The version of the program of a converter; "" where it tells none."""
    return _told_version(program, converter.version[1:]) if converter.version else ""


def lacking(converter: Converter, program: str) -> str:
    """The parts that the program of a converter lacks; "" where all are there, or not known."""
    return libre_office.lacking(program) if converter.made_by == "LibreOffice" else ""


@functools.cache
def _told_version(program: str, arguments: Sequence[str]) -> str:
    """What a program tells in its first line, without its own name."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(  # noqa: S603 - the command is that of the table, or of the user's own file
            [program, *arguments], capture_output=True, stdin=subprocess.DEVNULL, timeout=_VERSION_SECONDS, check=False
        )
        lines = (done.stdout or done.stderr).decode("utf-8", "replace").split("\n")
        line = next((line.strip() for line in lines if line.strip()), "")
        words = [word for word in line.split() if any(c.isdigit() for c in word)]
        return words[0][:40] if words else ""
    return ""


def _filled(part: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        part = part.replace(f"{{{name}}}", value)
    return part


def _result(made: Path, *, alone: bool) -> Path | None:
    """The PDF that a program wrote: where it was asked to, or the only one there if it had one document."""
    found = [made] if made.exists() or not alone else list(made.parent.glob("*.[pP][dD][fF]"))
    if len(found) == 1 and found[0].is_file() and not found[0].is_symlink():
        with open(found[0], "rb") as file:
            if b"%PDF-" in file.read(HEAD):
                return found[0]
    return None


def _refuse_locked(source: Path) -> None:
    with open(source, "rb") as file:
        words = words_of(file)
    if words == "a locked Office document" or libre_office.is_locked(source):
        raise DocumentError("encrypted", "it has a password: save it without one")


def _failure(converter: Converter, program: str, source: Path, ended: Ended) -> DocumentError:
    """Why there is no PDF."""
    if converter.fails:
        return DocumentError("needs_converter", f"{converter.fails}; or name another program in a readers.toml")
    if missing := lacking(converter, program):
        return DocumentError("needs_converter", f"LibreOffice is here without {missing}: {converter.get}")
    code = ended.code
    lines = [line for line in ended.told.replace(str(source.parent), "").split("\n") if line and "javaldx" not in line]
    last = f": {lines[-1][:_LONGEST_TELLING]}" if lines else ""
    if code < 0 or code >= 128:  # noqa: PLR2004 - as shells tell of a signal
        return DocumentError("crash", f"{converter.made_by} crashed (exit code {code}){last}")
    return DocumentError("not_a_document", f"{converter.made_by} makes no PDF of it{last}")
