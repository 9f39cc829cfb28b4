"""What is printed fits a terminal, whatever characters it holds."""

import pytest

from embedpipe.commands.terminal.widths import LEAST, cut, fitted, shortened, width_of


@pytest.mark.parametrize("text", ["2024/letters/office/scan-0001.pdf", "发票/二〇二四年/第一季度/扫描件一.pdf"])
@pytest.mark.parametrize("most", range(4, 60, 3))
def test_a_long_name_loses_its_middle(text: str, most: int) -> None:
    """It takes as many columns as there are, nearly, of which Chinese characters take two; the end is kept."""
    short = shortened(text, most)
    assert most - 2 <= width_of(short) <= most or short == text
    assert short == text or (short.count("…") == 1 and text.endswith(short.split("…")[1]))
    assert text.startswith(cut(text, most).removesuffix("…"))
    assert width_of(cut(text, most)) <= most


def test_the_widest_column_is_made_shorter() -> None:
    """A table fits as a whole; a column that is no wider than the least stays, and so does one that must."""
    rows = [["ok", "a" * 60, "发票" * 20], ["ok", "b", "c"]]
    cells = fitted(["status", "file", "why"], rows, 56, {"file": shortened, "why": cut})
    assert [width_of(cell) for cell in cells[0]] == [2, 25, 25]
    assert cells[1] == rows[1]
    assert fitted(["a", "file"], [["x" * 100, "y" * 30]], 40, {"file": shortened})[0][1].count("y") == LEAST - 1
