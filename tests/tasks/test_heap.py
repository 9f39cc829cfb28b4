"""What is computed of all documents, and kept; the server's tests ask the rest."""

from pathlib import Path

import pytest

from embedpipe.core.errors import ArtifactError
from embedpipe.tasks.heap import Survey


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(100), b"no archive"])
def test_a_damaged_survey_is_said(tmp_path: Path, content: bytes) -> None:
    """Whatever is there in its place."""
    (tmp_path / "answers.npz").write_bytes(content)
    with pytest.raises(ArtifactError, match="cannot be read"):
        Survey.load(tmp_path / "answers.npz")
