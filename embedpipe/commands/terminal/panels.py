"""How `--help` and docs/commands.md group the commands: by job, the most used first."""

PANELS = {
    "Sort documents": ("embed", "label", "fit-svm", "classify", "evaluate", "report", "watch", "run"),
    "Find pages that look alike": ("similar", "dedupe", "families", "map", "index"),
    "Improve types and labels": ("add-type", "suggest", "review", "check-labels", "explain"),
    "Other classifiers and networks": ("fit-head", "fit-knn", "classifiers", "compare", "finetune", "backbones"),
    "Work at a page in the browser": ("serve",),
    "Look after the artifacts": ("info", "merge", "forget", "spaces", "export"),
    "Try it on this machine": ("demo", "doctor", "bench"),
}

_PLACES = {
    name: (panel, place) for place, (panel, name) in enumerate((p, n) for p, names in PANELS.items() for n in names)
}


def panel_of(name: str) -> str | None:
    """The group of a command; None puts it under "Commands", which a test refuses."""
    return _PLACES[name][0] if name in _PLACES else None


def place_of(name: str | None) -> int:
    """Position of a command in `--help`, counted from 0; after all others where it is in no group."""
    return _PLACES[name][1] if name in _PLACES else len(_PLACES)
