"""Which language people read."""

import pytest

from embedpipe.core.languages.choice import asked, named


@pytest.mark.parametrize(
    ("arguments", "variables", "language"),
    [
        (["info"], {}, "en"),
        (["--lang", "zh", "info"], {"LANG": "en_US.UTF-8"}, "zh"),
        (["info", "--lang=zh_CN.UTF-8"], {"EMBEDPIPE_LANG": "en"}, "zh"),
        (["info", "--lang", "en"], {"EMBEDPIPE_LANG": "zh", "LANG": "zh_CN.UTF-8"}, "en"),
        (["info", "--", "--lang", "zh"], {}, "en"),
        (["info", "--lang"], {"LANG": "zh_CN"}, "zh"),
        (["info", "--lang", "fr"], {"LANG": "zh_CN"}, "zh"),
        (["info"], {"EMBEDPIPE_LANG": "zh-Hans"}, "zh"),
        (["info"], {"EMBEDPIPE_LANG": "", "LANG": "zh_CN.GB18030"}, "zh"),
        (["info"], {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        (["info"], {"LC_ALL": "", "LC_MESSAGES": "zh_TW.UTF-8", "LANG": "en_US"}, "zh"),
        (["info"], {"LC_ALL": "zh_ZZ.no-such-locale"}, "zh"),
        (["info"], {"LC_ALL": "no-such-locale"}, "en"),
        (["info"], {"LANG": "C.UTF-8"}, "en"),
    ],
)
def test_the_command_line_counts_then_the_variable_then_the_locale(
    arguments: list[str], variables: dict[str, str], language: str
) -> None:
    """An empty variable counts as none; a locale need not be installed."""
    assert asked(arguments, variables) == language


def test_a_language_has_many_names() -> None:
    """As people and systems write them."""
    assert [named(text) for text in ("zh", "ZH-CN", "zh_Hans", "zh@pinyin", "en.UTF-8")] == ["zh"] * 4 + ["en"]
    assert [named(text) for text in ("", "zhuang", "fr", "english")] == [None] * 4
