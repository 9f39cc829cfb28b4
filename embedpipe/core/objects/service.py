"""The services that keep objects, through fsspec: each call is tried again with growing pauses, and fails in words.

Credentials, regions and endpoints come from where the service's own library looks for them: for S3 these are the
variables and files of AWS, `AWS_ENDPOINT_URL` included.
"""

import contextlib
import errno
import functools
import os
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.objects.urls import scheme_of

T = TypeVar("T")

EXTRAS = {"s3": "s3", "gs": "", "gcs": "", "az": "", "abfs": "", "abfss": ""}
"""Schemes that are read, and the extra that brings the library of each; "" where none does, and fsspec names it."""

_TRIES = 6
FIRST_PAUSE = 0.2
"""Seconds before the second try; each later one waits twice as long as the one before, 6 s in all."""

_AGAIN = {408, 425, 429}
"""Refusals that a later try may not meet, besides those of the service itself from 500 on."""

_OF_THE_SERVICE = 500
_REFUSED = {401, 403}
_MISSING = {404, 410}
_CHANGED = {409, 412}
_NOWHERE = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound")


@functools.cache
def file_system(scheme: str) -> Any:
    """The file system of fsspec for a scheme.

    Raises:
        EmbedpipeError: There is none, or its library is not installed.
    """
    if scheme not in EXTRAS:
        raise EmbedpipeError(
            f"{scheme}:// is not read: objects are read from {', '.join(f'{known}://' for known in EXTRAS)}; download "
            "the files first"
        )
    try:
        import fsspec  # noqa: PLC0415 - most runs read files of this machine

        system = fsspec.filesystem(scheme, use_listings_cache=False, **_settings(scheme))
    except (ImportError, ValueError) as error:
        extra = EXTRAS[scheme]
        how = f"install the extra: pip install 'embedpipe[{extra}]'" if extra else str(error)
        raise EmbedpipeError(f"{scheme}:// needs a library that is not installed: {how}") from error
    system.retries = 1  # of s3fs: the tries are counted here
    return system


def _settings(scheme: str) -> dict[str, Any]:
    """Has one place count the tries: three that each try again multiply to minutes."""
    if scheme != "s3" or "AWS_MAX_ATTEMPTS" in os.environ:
        return {}
    retries = {"mode": "standard", "total_max_attempts": 1}
    return {"config_kwargs": {"retries": retries, "connect_timeout": 10, "read_timeout": 60}}


def called(url: str, call: Callable[[Any], T]) -> T:
    """What a call to the file system of a URL gives; tried again where that can help.

    Raises:
        OSError: It failed: FileNotFoundError, PermissionError, FileExistsError (it is there, or was changed by somebody
            else, where a write was to meet neither), or EIO. Its `strerror` says what to do.
        EmbedpipeError: The library is not installed.
    """
    system, pause = file_system(scheme_of(url)), FIRST_PAUSE
    for number in range(1, _TRIES + 1):
        try:
            return call(system)
        except EmbedpipeError:
            raise
        except Exception as error:  # the libraries of the services raise many kinds
            final = _in_words(error, url, last=number == _TRIES)
            if final is not None:
                raise final from error
        time.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - spreads the tries of many workers
        pause *= 2
    raise AssertionError


def _in_words(error: Exception, url: str, *, last: bool) -> OSError | None:
    """The error that a failure is; None where another try may help."""
    status = _status_of(error)
    if isinstance(error, FileExistsError) or status in _CHANGED:
        return FileExistsError(errno.EEXIST, "it was written by somebody else meanwhile", url)
    if isinstance(error, FileNotFoundError) or status in _MISSING:
        return FileNotFoundError(errno.ENOENT, "there is no such object (404)", url)
    if type(error).__name__ in _NOWHERE:
        return PermissionError(
            errno.EACCES, "no credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", url
        )
    if isinstance(error, PermissionError) or status in _REFUSED:
        why = "access is refused (403): check the credentials, and what they may do in this bucket"
        return PermissionError(errno.EACCES, why, url)
    is_wrong = status is not None and status < _OF_THE_SERVICE and status not in _AGAIN
    refused = is_wrong or isinstance(error, ValueError | TypeError)
    if refused or last:
        tries = "" if refused else f" after {_TRIES} tries"
        return OSError(errno.EIO, f"the service failed{tries}: {_first_line(error)}", url)
    return None


def _status_of(error: BaseException | None) -> int | None:
    """The HTTP status behind an error, where it tells."""
    while error is not None:
        with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError):
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"])  # type: ignore[attr-defined]
        error = error.__cause__ or error.__context__
    return None


def _first_line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
