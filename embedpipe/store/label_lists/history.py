"""Earlier versions of labels.csv, so that no command loses labels for good.

    labels/history.json           what each version is: when, by which command, what it changed
    labels/<n>.csv                labels.csv as it was

The version in use is the one whose content labels.csv has. What a person wrote there by hand becomes a version of its
own before a command writes the table again.
"""

import contextlib
import csv
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from embedpipe.core.errors import ArtifactError, EmbedpipeError
from embedpipe.core.files import read_json, replacing, sha256_of, write_json
from embedpipe.core.tables import guard, read_table

KEPT = 20
"""How many versions stay."""

_ONE_SITTING = 15 * 60
"""Seconds in which changes of whoever labels one by one are one version: each would push an older one out."""

BY_HAND, FOUND = "by hand", "found there"
"""Commands of versions that no command made: after one of ours, and before the first."""

_FOLDER, _FILE = "labels", "history.json"
_TIME = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Version:
    """A state of labels.csv.

    Attributes:
        number: From 1.
        before: The version that it was made from; 0 for none.
        when: Local time, to the second.
        command: Which command wrote it, or `BY_HAND` or `FOUND`.
        sha256: Hash of the file.
        labels: How many labels it holds; None where that was not counted.
        added: Labels of what had none before.
        changed: Labels that were replaced by others.
        removed: Labels that were removed.
    """

    number: int
    before: int
    when: str
    command: str
    sha256: str
    labels: int | None = None
    added: int | None = None
    changed: int | None = None
    removed: int | None = None


class History:
    """The versions of a table.

    Args:
        table: labels.csv; the versions are in a folder beside it.

    Attributes:
        versions: All of them, oldest first.
        damage: Why the list of versions could not be read, or "".
    """

    def __init__(self, table: Path) -> None:
        self._table = table
        self._folder = table.with_name(_FOLDER)
        self.versions: list[Version] = []
        self.damage = ""
        self._last = 0  # the version that a command left in use
        file = self._folder / _FILE
        if not file.exists():
            return
        try:
            values = read_json(file)
            self.versions, self._last = [Version(**v) for v in values["versions"]], int(values["in_use"])
        except ArtifactError as error:
            self.damage = str(error)
        except (TypeError, ValueError, LookupError) as error:
            self.damage = f"{file} is damaged: {type(error).__name__}"

    def require(self) -> None:
        """Raises ArtifactError where the list of versions is damaged."""
        if self.damage:
            raise ArtifactError(f"{self.damage}; the versions are the files {self._folder / 'N.csv'}")

    def in_use(self) -> Version | None:
        """The version whose content the table has; None where a person changed it since, or there is none."""
        if not self._table.exists():
            return None
        digest = sha256_of(self._table)
        same = [version for version in self.versions if version.sha256 == digest]
        return next((v for v in same if v.number == self._last), same[-1] if same else None)

    @contextlib.contextmanager
    def changing(
        self, command: str, counts: Callable[[], tuple[int, int, int, int]], *, one_by_one: bool = False
    ) -> Iterator[Path]:
        """Gives a file to write the new table to; when the block ends well, it takes the place of the table.

        Call it with the lock of the artifacts held. A table with the same content as before makes no version. A kill
        leaves the old table or the new one.

        Args:
            command: Who changes it.
            counts: Returns how many labels the new table holds, and how many were added, changed and removed.
            one_by_one: The command changes a few labels at a time: what it wrote just before is no version of its own.

        Raises:
            ArtifactError: The disk is full, or cannot be written; the table is as it was.
        """
        self._take_in()
        before = self.in_use()
        folded = before if one_by_one and before and _in_one_sitting(before, command) else None
        number = self._next()
        file = self._file(number)
        try:
            yield file
            digest = sha256_of(file)
            if before is None or digest != before.sha256:
                earlier, when = before.number if before else 0, _text(time.time())
                new = Version(number, earlier, when, command, digest, *counts())
                if folded is not None:
                    new = replace(new, before=folded.before, when=folded.when, added=None, changed=None, removed=None)
                self._write([*(v for v in self.versions if v is not folded), new], number)
                _copy(file, self._table)
                if folded is not None:
                    self._file(folded.number).unlink(missing_ok=True)
        finally:
            if number not in {version.number for version in self.versions}:
                file.unlink(missing_ok=True)

    def back(self, number: int | None) -> tuple[Version, Version]:
        """Makes another version the one in use, by its number, or by None the one that the present was made from.

        What a person changed by hand since the last command is kept as a version first. Call it with the lock held.

        Returns:
            The version that was in use, and the one that is now.

        Raises:
            ArtifactError: There is no such version, or it is damaged; then the table is as it was.
        """
        self.require()
        self._take_in()
        now = self.in_use()
        if now is None:
            raise ArtifactError(f"there is no {self._table} and no version of it: nothing to undo")
        wanted = now.before if number is None else number
        target = next((v for v in self.versions if v.number == wanted), None)
        if target is None:
            what = "before the present one" if number is None else str(number)
            have = ", ".join(str(v.number) for v in self.versions)
            raise ArtifactError(f"there is no version {what} of the labels; `label --history` lists them: {have}")
        file = self._file(target.number)
        if not file.exists() or sha256_of(file) != target.sha256:
            raise ArtifactError(f"{file} is missing or damaged: the labels are as they were")
        self._write(self.versions, target.number)
        _copy(file, self._table)
        return now, target

    def forget(self, cells: Iterable[str]) -> None:
        """Removes lines from all versions that hold one of some cells: what is forgotten must not be found here."""
        gone = set(cells)
        for number in self._numbers():
            _without(self._file(number), gone)
        left = [version for version in self.versions if self._file(version.number).exists()]
        versions = [replace(version, sha256=sha256_of(self._file(version.number))) for version in left]
        if self.versions:
            self._write(versions, self._last)

    def _take_in(self) -> None:
        """Makes the table as it is now a version, where it is none yet."""
        if not self._table.exists() or self.in_use() is not None:
            return
        number = self._next()
        _copy(self._table, self._file(number))
        when, digest = _text(self._table.stat().st_mtime), sha256_of(self._table)
        self._write(
            [*self.versions, Version(number, self._last, when, BY_HAND if self.versions else FOUND, digest)], number
        )

    def _next(self) -> int:
        return 1 + max([version.number for version in self.versions] + self._numbers(), default=0)

    def _write(self, versions: list[Version], in_use: int) -> None:
        """Writes the list, without the oldest versions beyond `KEPT`; then the files of these go."""
        before = next((version.before for version in versions if version.number == in_use), 0)
        old = [version for version in versions if version.number not in {in_use, before}]
        gone = {version.number for version in old[: max(0, len(versions) - KEPT)]}
        self.versions, self._last = [v for v in versions if v.number not in gone], in_use
        write_json(self._folder / _FILE, {"versions": [asdict(v) for v in self.versions], "in_use": in_use})
        for number in gone:
            self._file(number).unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.csv"

    def _numbers(self) -> list[int]:
        return [int(file.stem) for file in self._folder.glob("*.csv") if file.stem.isdecimal()]


def _text(seconds: float) -> str:
    return time.strftime(_TIME, time.localtime(seconds))


def _in_one_sitting(version: Version, command: str) -> bool:
    """Whether a version was begun by the same command not long ago."""
    if version.command != command:
        return False
    try:
        age = time.time() - time.mktime(time.strptime(version.when, _TIME))
    except ValueError:
        return False
    return 0 <= age < _ONE_SITTING


def _copy(file: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(file, temporary)


def _without(file: Path, gone: set[str]) -> None:
    """Writes a table without the lines that hold a cell; one that cannot be read goes as a whole."""
    try:
        table = read_table(file)
    except EmbedpipeError:
        file.unlink(missing_ok=True)
        return
    rows = [cells for _, cells in table.rows if not gone & set(cells)]
    if len(rows) == len(table.rows):
        return
    with replacing(file) as temporary, open(temporary, "w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([[guard(cell) for cell in cells] for cells in (table.header, *rows)])
