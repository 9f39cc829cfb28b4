"""The demo: draws documents, then does with them what a user would do."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedpipe.classifiers import training
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.core.display import path_to_text
from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import read_json, write_json
from embedpipe.core.outputs import written
from embedpipe.samples import draw_samples
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import classify, embed, evaluate, similar

if TYPE_CHECKING:
    from embedpipe.backbones.engines import Backbone

_PER_TYPE = 8
_NEW_PER_TYPE = 2
_LIST = "demo.json"
"""Lists what was drawn: another demo in the folder removes these files, and no others."""
_JOB = "embedpipe.toml"
_JOB_TEXT = """\
# What the demo has done, as a job: `embedpipe run embedpipe.toml` does it, and `--dry-run` says what it would do.
# Each table is a command, and its keys are the options of that command. Paths are relative to this file.
artifacts = {artifacts}

[embed]
inputs = ["documents"]
label-by = "folder"

[fit-svm]

[evaluate]
html = "report.html"

[classify]
inputs = ["new"]
sort-into = "sorted"
csv = "answers.csv"

[map]
html = "map.html"
method = "pca"
"""


def run(workspace: Workspace, backbone: "Backbone", folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Draws, embeds, fits, evaluates, classifies documents that are new, and finds look-alikes.

    Args:
        workspace: Gets the features, the labels and the classifier.
        backbone: The network.
        folder: Gets the drawn documents, the report and the contact sheet. It is new, empty, or of an earlier demo.
        say: Called with a line about each step.

    Returns:
        Figures of every step, and the files to open.

    Raises:
        ArtifactError: The folder holds other files, or cannot be written.
    """
    begin = time.perf_counter()
    known, new = folder / "documents", folder / "new"
    drawn, unseen = _draw(workspace, folder, known, new)
    say(f"drew {len(drawn)} documents in {known}, and {len(unseen)} new ones in {new}")
    report = embed.embed(workspace, [str(known)], backbone, label_by_folder=True)
    say(f"embedded {report.embedded} pages ({report.skipped} were there) in {report.seconds:.1f} s")
    store = workspace.store(space=backbone.identity.space)
    bundle = training.fit(workspace, store, TrainingRecipe("svm"))
    say(f"fitted an SVM in {bundle.fitted_on['seconds']:.1f} s")
    result = evaluate.assess(workspace, store, bundle)
    html = folder / "report.html"
    evaluate.write(workspace, bundle, result, html)
    say(f"held-out documents: accuracy {result.evaluation.metrics['document_accuracy']:.2f}")
    verdicts, _ = classify.classify(workspace, [str(new)], bundle, lambda: backbone)
    right = sum(Path(verdict.path).parent.name == verdict.prediction.label for verdict in verdicts)
    say(f"classified the new documents: {right} of {len(verdicts)} right")
    job = folder / _JOB
    _write_job(workspace, job)
    say(f"wrote {job}: `embedpipe run {job}` does the same, and sorts the new documents")
    sheet = folder / "similar.png"
    found = similar.similar(workspace, store, f"{verdicts[0].path}#page=1", lambda: backbone, k=8)
    similar.draw(workspace, found, sheet)
    return {
        "documents": len(drawn),
        "pages": report.pages,
        "metrics": result.evaluation.metrics,
        "new_documents": len(verdicts),
        "new_right": right,
        "report": str(html),
        "contact_sheet": str(sheet),
        "job": str(job),
        "seconds": round(time.perf_counter() - begin, 2),
    }


def _write_job(workspace: Workspace, file: Path) -> None:
    """Writes the example of a job, unless somebody has changed it."""
    artifacts = os.path.relpath(os.path.abspath(workspace.root), os.path.abspath(file.parent))
    text = _JOB_TEXT.format(artifacts=json.dumps(path_to_text(artifacts), ensure_ascii=False))
    if not file.exists():
        with written(file) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _draw(workspace: Workspace, folder: Path, known: Path, new: Path) -> tuple[list[Path], list[Path]]:
    """Draws the documents, in the place of those of an earlier demo."""
    workspace.claim()
    try:
        listed = folder / _LIST
        if listed.exists():
            for file in (folder / name for name in read_json(listed, "; remove it").get("drawn", ())):
                if file.resolve().is_relative_to(folder.resolve()):
                    file.unlink(missing_ok=True)
        elif folder.exists() and folder != workspace.root / "demo" and any(folder.iterdir()):
            raise ArtifactError(f"--folder {folder} holds other files: name a new or an empty folder")
        write_json(listed, {"drawn": []})
        drawn = draw_samples(known, per_type=_PER_TYPE)
        unseen = draw_samples(new, per_type=_NEW_PER_TYPE, seed=1)
    except OSError as error:
        raise ArtifactError(f"cannot write {folder}: {error.strerror or error}") from error
    write_json(listed, {"drawn": [str(path.relative_to(folder)) for path in drawn + unseen]})
    return drawn, unseen
