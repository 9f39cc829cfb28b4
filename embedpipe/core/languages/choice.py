"""Which language people read: asked for on the command line, else by a variable, else the locale's."""

import os
from collections.abc import Mapping, Sequence

VARIABLE = "EMBEDPIPE_LANG"
OPTION = "--lang"
ENGLISH, CHINESE = "en", "zh"
LANGUAGES = (ENGLISH, CHINESE)
TAGS = {ENGLISH: "en", CHINESE: "zh-Hans"}
"""Of the attribute `lang` of HTML."""
_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set counts, as POSIX says
_MARKS = str.maketrans(".@-", "___")

_used = [ENGLISH]


def use(language: str) -> None:
    """Sets the language of this process; one of `LANGUAGES`."""
    _used[0] = language


def current() -> str:
    """The language of this process: English until another is set."""
    return _used[0]


def named(text: str) -> str | None:
    """The language that a name or a locale stands for, such as zh, zh-CN, zh_TW.UTF-8 or en; None for others."""
    first = text.strip().translate(_MARKS).partition("_")[0].lower()
    return first if first in LANGUAGES else None


def asked(arguments: Sequence[str], variables: Mapping[str, str] = os.environ) -> str:
    """The language that a command line asks for, wherever in it, else the environment.

    What names no language that there is counts as not said here: the option's own check refuses it in the language
    of the locale.
    """
    for number, argument in enumerate(arguments):
        if argument == "--":
            break
        name, equals, value = argument.partition("=")
        if name == OPTION:
            given = value if equals else next(iter(arguments[number + 1 :]), "")
            if language := named(given):
                return language
    if language := named(variables.get(VARIABLE, "")):
        return language
    return named(next((set_to for name in _LOCALE if (set_to := variables.get(name))), "")) or ENGLISH
