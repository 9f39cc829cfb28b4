"""Documents to decide about, as an HTML file that stands alone: it keeps what was chosen, and saves it as a CSV."""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from embedpipe.core.display import display, path_to_text
from embedpipe.core.languages.translation import word
from embedpipe.drawing.templating import environment, write_html


@dataclass(frozen=True, slots=True)
class Look:
    """A labelled page that a document looks like.

    Attributes:
        kind: Its type.
        path: Of its document.
        page_number: From 1.
        score: Their cosine.
        picture: Its key among the pictures.
    """

    kind: str
    path: str
    page_number: int
    score: float
    picture: str


@dataclass(frozen=True, slots=True)
class Card:
    """A document to decide about.

    Attributes:
        document_sha256: The document.
        path: Where it is.
        pages: How many it has; 0 where that is not known.
        status: Of the answer.
        reason: Why a person should look, in plain words.
        candidates: Types, best first, with their probabilities where these are known.
        looks: What it looks like.
        picture: Key of its page among the pictures.
    """

    document_sha256: str
    path: str
    pages: int
    status: str
    reason: str
    candidates: Sequence[tuple[str, float | None]]
    looks: Sequence[Look]
    picture: str


def write_review(
    file: Path,
    facts: Mapping[str, str],
    cards: Sequence[Card],
    *,
    types: Sequence[str],
    none: str,
    pictures: Mapping[str, bytes],
) -> None:
    """Writes the documents; an older file is replaced in one step.

    Args:
        file: The HTML file.
        facts: Where they come from: names and values.
        cards: In the order shown.
        types: All that there are to choose from.
        none: What stands for none of them.
        pictures: JPEGs by their keys.

    Raises:
        ArtifactError: The file cannot be written.
    """
    script = environment().get_template("review.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    name = hashlib.sha256("".join(card.document_sha256 for card in cards).encode()).hexdigest()[:16]
    content = {
        "name": name,
        "types": list(types),
        "none": none,
        "cards": [_card(card) for card in cards],
        "pictures": {key: base64.b64encode(picture).decode("ascii") for key, picture in pictures.items()},
    }
    write_html(
        file,
        "review.html",
        title="Documents to review",
        facts=facts,
        script=Markup(script),  # noqa: S704 - the template's own text, without values
        digest=digest,
        content=content,
    )


def _card(card: Card) -> dict[str, Any]:
    folder, name = os.path.split(card.path)
    return {
        "document": card.document_sha256,
        "path": path_to_text(card.path),
        "name": display(name),
        "folder": display(folder),
        "pages": card.pages,
        "status": word(card.status),
        "reason": word(card.reason),
        "candidates": [[kind, None if share is None else round(share, 4)] for kind, share in card.candidates],
        "picture": card.picture,
        "looks": [
            {
                "type": look.kind,
                "name": display(os.path.basename(look.path)),
                "page": look.page_number,
                "score": round(look.score, 3),
                "picture": look.picture,
            }
            for look in card.looks
        ],
    }
