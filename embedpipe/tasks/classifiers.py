"""`classifiers`: going back to an earlier version, and removing the others, or all of a classifier."""

from pathlib import Path

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.core import versions
from embedpipe.core.errors import ArtifactError, UnknownNameError
from embedpipe.core.files import read_json
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.spaces import remove_folders

STAYS = "features and labels stay: it can be fitted again from these"


def roll_back(workspace: Workspace, name: str, number: int | None = None) -> int:
    """Makes another version of a classifier the one in use; every version stays, so this can be undone.

    Args:
        workspace: The artifacts.
        name: Of the classifier.
        number: Of the version; None for the newest one before that in use.

    Returns:
        The number of the version in use now.

    Raises:
        UnknownNameError: There is no such classifier.
        ArtifactError: There is no such version, or it is damaged: nothing is changed then.
    """
    with workspace.writing("classifiers --rollback"):
        folder = _classifier_folder(workspace, name)
        number = versions.before(folder) if number is None else number
        if number in versions.numbers(folder):
            ClassifierBundle.load(versions.path_of(folder, number))
        versions.use(folder, number)
    return number


def prune(workspace: Workspace, name: str) -> int:
    """Removes all versions of a classifier but the one in use; returns how many.

    Raises:
        UnknownNameError: There is no such classifier.
    """
    with workspace.writing("classifiers --prune"):
        return versions.prune(_classifier_folder(workspace, name), 0)


def losses(workspace: Workspace, name: str) -> list[str]:
    """What would be lost with a classifier, a line each.

    Raises:
        UnknownNameError: There is no such classifier.
    """
    folder = _classifier_folder(workspace, name)
    numbers = versions.numbers(folder)
    count = f"{len(numbers)} version{'s' * (len(numbers) != 1)}"
    try:
        manifest = read_json(versions.in_use(folder) / versions.MANIFEST)
        learnt = f"{len(manifest['classes'])} types, learnt from {manifest['fitted_on']['documents']} documents"
    except (ArtifactError, LookupError, TypeError):
        learnt = "it cannot be read"
    return [f"{name}: {count}, {learnt}"]


def remove(workspace: Workspace, name: str) -> None:
    """Removes a classifier with all its versions.

    Raises:
        UnknownNameError: There is no such classifier.
        ArtifactError: It cannot be removed.
    """
    with workspace.writing("classifiers --remove"):
        remove_folders(workspace.root, (_classifier_folder(workspace, name),))


def _classifier_folder(workspace: Workspace, name: str) -> Path:
    known = workspace.classifiers()
    if name not in known:
        raise UnknownNameError("classifier", name, known)
    return workspace.classifier_folder(name)
