"""`fit-svm`, `fit-knn`, `fit-head` and `evaluate`: classifiers from stored features, and how good they are."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.base import DONE, Classifier, ErrorRate, begin, command, exit_code, open_classifier, say_next
from embedpipe.commands.label_files import LabelsFile, take_labels
from embedpipe.commands.printing import figure, print_metrics, print_missing
from embedpipe.commands.terminal.options import AllowMissing, Common, Labelling, Network, Space
from embedpipe.commands.terminal.targets import file_option
from embedpipe.core.errors import UsageError
from embedpipe.core.outputs import HTML

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from embedpipe.classifiers.bundles import ClassifierBundle
    from embedpipe.commands.terminal.console import Output
    from embedpipe.store.workspace import Workspace


_TYPES_SHOWN = 5
_STRANGERS = {"left_out": "documents of types left out", "none": "documents labelled as none of these"}

StoredSpace = Annotated[str | None, typer.Option("--space", help="The features of this space, see `info`.")]


def _fit(kind: str, common: Common, network: Network, space: str | None, labelling: Labelling) -> int:
    from embedpipe.classifiers.calibration.decisions import ERROR_RATE
    from embedpipe.classifiers.calibration.shift import measured_kinds, never_ok, promise
    from embedpipe.classifiers.gains import chosen_blocks
    from embedpipe.classifiers.lessons import missing
    from embedpipe.classifiers.lessons.reading import make_variants
    from embedpipe.classifiers.lessons.recipes import TrainingRecipe
    from embedpipe.classifiers.lessons.variants import Watch
    from embedpipe.classifiers.training import fit
    from embedpipe.pages.rendering import Selection
    from embedpipe.store.labels import NONE

    workspace, output = begin(common)
    settings = labelling.hyperparameters()
    if labelling.labels is not None:
        take_labels(workspace, str(labelling.labels), output)
    store = workspace.store(network.backbone, space)
    recipe = TrainingRecipe(
        kind, settings, labelling.pages, labelling.with_cues, labelling.augment, blocks=labelling.named_blocks()
    )
    if recipe.augment:
        with output.progress("variants") as bar:
            load = partial(network.load, workspace, store.identity)
            watch = Watch(bar.count, output.notice)
            make_variants(
                workspace,
                store,
                recipe,
                load,
                settings=labelling.reading(),
                watch=watch,
                allow_missing=labelling.allow_missing,
            )
    before = _types_before(workspace, labelling.name or kind)
    with output.busy("fitting and measuring"):
        bundle = fit(workspace, store, recipe, labelling.name, allow_missing=labelling.allow_missing)
    fitted, lacking = bundle.fitted_on, missing.take(workspace, store, Selection.parse(recipe.pages))
    advice = never_ok(bundle.documents, bundle.classes, ERROR_RATE)
    output.result(
        {
            "classifier": bundle.name,
            "space": bundle.identity.space,
            "classes": bundle.classes,
            "pages": fitted["pages"],
            "documents": fitted["documents"],
            "variants": fitted.get("variants", 0),
            "seconds": round(fitted["seconds"], 3),
            "types": fitted["types"],
            "missing": fitted["missing"],
            "blocks": fitted["blocks"],
            "gain": fitted.get("gain"),
            "metrics": bundle.metrics,
            "measured_kinds": measured_kinds(bundle.documents, ERROR_RATE),
            "none": fitted["none"],
            "guard": fitted["guard"],
            "advice": advice,
        }
    )
    counts = f"{len(bundle.classes)} types, {fitted['documents']} documents, {fitted['pages']} pages"
    if recipe.augment:
        counts += f" and {fitted['variants']} variants of them"
    output.line(f"{bundle.name}: {counts}; {fitted['seconds']:.1f} s")
    if fitted["none"]:
        output.line(f"none of these, documents that teach what is novel and are no type: {fitted['none']}")
        if NONE in map(str.casefold, before):
            output.notice(
                f"{NONE!r} was a type of {bundle.name} until now; it means none of the types: to have it as a type, "
                "give these documents another label, such as 'other', and fit again"
            )
    print_missing(lacking, output)
    if said := chosen_blocks(fitted):
        output.line(said)
    print_metrics(bundle.metrics, output)
    if bundle.metrics["held_out_documents"]:
        output.line(f"classify: {promise(bundle.documents, ERROR_RATE)}")
    _print_lines(output, *advice)
    print_unknowns(fitted["guard"], output)
    known = measured_kinds(bundle.documents, ERROR_RATE)
    say_next(common, output, knows_scans=bool(recipe.augment) or "scan" in known, fit=f"fit-{kind}")
    return DONE


def _types_before(workspace: "Workspace", name: str) -> list[str]:
    """Types of the classifier that is fitted again; none where it is new or cannot be read."""
    from embedpipe.classifiers.saved.on_disk import MANIFEST
    from embedpipe.core.errors import ArtifactError
    from embedpipe.core.files import read_json

    try:
        return list(map(str, read_json(workspace.classifier_path(name) / MANIFEST)["classes"]))
    except (ArtifactError, LookupError, TypeError):
        return []


def print_unknowns(found: "Mapping[str, Any] | None", output: "Output") -> None:
    """What becomes of documents of types that were not learnt, in a line."""
    if found is None:
        output.line("documents of other types: not measured, for that takes three types: some are `ok` by mistake")
        return
    limits = f"; limits for {', '.join(found['limited'])}" if found["limited"] else ""
    output.line(
        f"documents of other types, by leaving types out: {found['largest_ok']:.1%} would be {found['largest']}, the "
        f"largest type, as `ok` (any type: {found['any_ok']:.1%}), {found['novel']:.0%} novel{limits}"
    )


@command("fit-svm")
def fit_svm(common: Common, network: Network, labelling: Labelling, space: StoredSpace = None) -> int:
    """Fit a linear SVM on the stored features of the labelled pages."""
    return _fit("svm", common, network, space, labelling)


@command("fit-knn")
def fit_knn(common: Common, network: Network, labelling: Labelling, space: StoredSpace = None) -> int:
    """Fit k nearest neighbours on the stored features of the labelled pages."""
    return _fit("knn", common, network, space, labelling)


@command("fit-head")
def fit_head(common: Common, network: Network, labelling: Labelling, space: StoredSpace = None) -> int:
    """Fit a new output layer (logistic regression) on the stored features of the labelled pages."""
    return _fit("head", common, network, space, labelling)


@command("evaluate")
def evaluate(
    common: Common,
    network: Network,
    classifier: Classifier = None,
    labels: LabelsFile = None,
    error_rate: ErrorRate = 0.05,
    test: Annotated[
        Path | None,
        typer.Option(help="Measure on the documents of this folder: its folders, or --labels, are the types."),
    ] = None,
    html: Annotated[
        Path | None, file_option(HTML, "Write an HTML file that stands alone.", "--html", "--report")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare frozen features, a new output layer, and fine-tuning instead.")
    ] = False,
    space: Annotated[str | None, typer.Option(help="With --compare: the features of this space.")] = None,
    pages: Annotated[str, typer.Option(help="With --compare: pages of each document.")] = "1-3",
    unfreeze: Annotated[str, typer.Option(help="With --compare: what is fine-tuned, see finetune.")] = "last-stage",
    epochs: Annotated[
        int, typer.Option(help="With --compare: most passes of the fine-tuning.", min=1, max=100_000)
    ] = 20,
    allow_missing: AllowMissing = False,
) -> int:
    """Measure a classifier on documents that it was not fitted on: held out in grouped folds, or from elsewhere."""
    if compare:
        from embedpipe.commands.comparing import compare_ways

        given = {"--test": test, "--html": html, "--labels": labels, "--classifier": classifier}
        for option in (option for option, value in given.items() if value is not None):
            raise UsageError(f"--compare needs no classifier and holds its own documents out: leave {option} out")
        recipe = {"weights": network.weights, "pages": pages, "unfreeze": unfreeze, "epochs": epochs}
        return compare_ways(common, Space(None, space), recipe, network.device, allow_missing=allow_missing)
    from embedpipe.classifiers.calibration.decisions import Rule
    from embedpipe.tasks import evaluate as evaluate_task

    workspace, output = begin(common)
    if test is not None:
        if html is not None:
            raise UsageError("--html shows the cross-validation: leave --test out")
        return _elsewhere(
            workspace, open_classifier(workspace, classifier), network, (test, labels), error_rate, output
        )
    if labels is not None:
        take_labels(workspace, str(labels), output)
    bundle = open_classifier(workspace, classifier)
    store = workspace.store(space=bundle.identity.space)
    bundle.require(store.identity)
    with output.busy("measuring"):
        found = evaluate_task.assess(workspace, store, bundle, Rule(error_rate), allow_missing=allow_missing)
    if html is not None:
        evaluate_task.write(workspace, bundle, found, html)
        output.notice(f"report: {html}")
    output.result({"classifier": bundle.name, **evaluate_task.as_json(found)})
    metrics = found.evaluation.metrics
    _print_lines(output, evaluate_task.in_a_sentence(found))
    _print_types(found.evaluation.per_class, output)
    print_metrics(metrics, output)
    print_missing(found.missing, output)
    if "macro_f1" in found.intervals:
        low, high = found.intervals["macro_f1"].to_json()
        output.line(f"macro-F1 of documents lies between {low:.3f} and {high:.3f} in 95 of 100 draws of other groups")
    flattering = found.careless["document_macro_f1"]
    if flattering is not None:
        known = " and the network was trained on most of them" if metrics["seen_documents"] else ""
        output.line(
            f"pages split at random would claim {flattering:.3f}: pages of one document look alike{known}, do not "
            "believe it"
        )
    _print_lines(output, *(_kinds(what, kinds) for what, kinds in found.decisions.items()), found.promise)
    _print_gains(found.learning_curves, output)
    print_unknowns(found.guard, output)
    _print_novelty(found.novelty, output)
    say_next(common, output)
    return DONE


def _print_lines(output: "Output", *lines: str) -> None:
    """Those that say something."""
    for line in filter(None, lines):
        output.line(line)


def _print_gains(curves: "Sequence[Mapping[str, Any]]", output: "Output") -> None:
    """Which types gain most from more labels."""
    from embedpipe.classifiers.figures.learning_curves import LITTLE, MORE

    worth = [row for row in curves if (row["gain"] or 0) >= LITTLE][:_TYPES_SHOWN]
    if worth:
        gains = ", ".join(f"{row['type']} +{row['gain']:.2f}" for row in worth)
        output.line(f"{MORE} more labels of each type would bring most, in F1, to {gains}")


def _print_novelty(found: "Mapping[str, Any] | None", output: "Output") -> None:
    """How well documents of no known type are told from others."""
    rows = ((what, found[key]) for key, what in _STRANGERS.items() if found and found[key])
    for what, figures in rows:
        with_none = figures["auroc"] != figures["auroc_without"]
        but = f" ({figure(figures['auroc_without'])} without what is labelled as none of these)" if with_none else ""
        output.line(f"novelty tells {what} from known ones with an AUROC of {figure(figures['auroc'])}{but}")


def _elsewhere(
    workspace: "Workspace",
    bundle: "ClassifierBundle",
    network: Network,
    documents: tuple[Path, Path | None],
    error_rate: float,
    output: "Output",
) -> int:
    from embedpipe.classifiers.calibration.decisions import Rule
    from embedpipe.classifiers.calibration.expected import out_of_hundred
    from embedpipe.classifiers.calibration.shift import as_json, promise
    from embedpipe.tasks import evaluate as evaluate_task

    folder, labels = documents
    found = evaluate_task.measure_elsewhere(
        workspace,
        bundle,
        str(folder),
        str(labels) if labels else None,
        partial(network.load, workspace, bundle.identity),
        rule=Rule(error_rate),
    )
    if found.learnt:
        output.notice(
            f"{len(found.learnt)} documents were left out: classifier or network were trained on them, for they are "
            "or were labelled"
        )
    if found.unknown:
        output.notice(f"not known to the classifier, so never right: {', '.join(found.unknown)}")
    shift = as_json(found.report.shift, bundle.name, error_rate)
    output.result({"classifier": bundle.name, **evaluate_task.elsewhere_json(found), "shift": shift})
    about, low, high = out_of_hundred(found.intervals["accuracy"])
    output.line(f"Of 100 documents like those in {folder} about {about} get the right type (between {low} and {high}).")
    _print_types(found.per_class, output)
    figures = ", ".join(
        f"{name.replace('_', ' ')} {i.value:.3f} ({i.low:.3f} to {i.high:.3f})" for name, i in found.intervals.items()
    )
    output.line(f"{found.metrics['documents']} documents: {figures}")
    output.line(_kinds("documents", found.metrics))
    if none := found.metrics["none"]:
        shares = ", ".join(f"{none[status]:.0%} {status}" for status in ("novel", "ambiguous", "ok"))
        output.line(f"{none['documents']} documents of none of the types, in no other figure: {shares}")
    output.line(promise(bundle.documents, error_rate))
    for line in shift["advice"]:
        output.notice(line)
    return exit_code(found.report)


def _print_types(rows: "Sequence[Mapping[str, Any]]", output: "Output") -> None:
    output.table(
        ("type", "precision", "recall", "F1", "documents"),
        [
            (
                r["type"],
                *("-" if r[m] is None else f"{r[m]:.2f}" for m in ("precision", "recall", "f1")),
                r["documents"],
            )
            for r in rows
        ],
    )


def _kinds(what: str, kinds: "Mapping[str, float]") -> str:
    shares = ", ".join(f"{kinds[status]:.0%} {status}" for status in ("ok", "ambiguous", "novel"))
    known = kinds.get("coverage_known_types")
    of_known = "" if known is None else f", of known types in {known:.1%}"
    return f"{what}: {shares}; the true type is among the candidates in {kinds['coverage']:.1%}{of_known}"
