"""Model cards (Mitchell et al., 2019, arXiv:1810.03993): what a fine-tuned network is, for people who get it alone."""

from collections.abc import Mapping
from typing import Any

_CARD = """# finetuned:{name}

{base}, fine-tuned by embedpipe {version} to classify document pages by what they look like.

- **Types** ({n_classes}): {classes}
- **Base**: `{base}`, weights {base_sha256} (SHA-256 of its tensors), licence of the weights: {licence}
- **Trained**: `--unfreeze {unfreeze}`, best of {epochs} epochs: {best}{interrupted}
- **Documents**: {trained} trained on, {validated} held out by group to say when to stop; pages {pages} of each
- **Input**: RGB pages, `{resize}` {size}; mean {mean}, standard deviation {std}, {interpolation}

## Use

    embedpipe embed DOCUMENTS --backbone finetuned:{name}

`weights.safetensors` holds the tensors under the names that the base's library gives them, and the new output layer as
`output.weight` and `output.bias`, its rows in the order of the types above. So they also load elsewhere.

## Held-out quality

Of the network's own output layer on the {validated} validation documents:

| | accuracy | balanced accuracy | macro-F1 |
| --- | --- | --- | --- |
| documents | {document_accuracy} | {document_balanced_accuracy} | {document_macro_f1} |
| pages | {accuracy} | {balanced_accuracy} | {macro_f1} |

The best epoch was chosen on these documents, so the figures are a little better than on others. {fit}

![Learning curves](curves.png)

## Limits

It knows the types above and nothing else: a page of another type gets one of them. It has seen the documents and groups
that `manifest.json` lists as trained: figures measured on them with its features are too high. embedpipe leaves
them out of what it measures; other programs will not.

## Hyper-parameters

{settings}
"""


def model_card(manifest: Mapping[str, Any]) -> str:
    """The card of a fine-tuned backbone, in Markdown.

    Args:
        manifest: Of the backbone, see `finetune.Finetuned`.
    """
    recipe, metrics, preprocessing = manifest["recipe"], manifest["metrics"], manifest["preprocessing"]
    figures = ("accuracy", "balanced_accuracy", "macro_f1")
    shown = {key: _figure(metrics[key]) for name in figures for key in (name, f"document_{name}")}
    return _CARD.format(
        name=manifest["name"],
        base=manifest["base"],
        version=manifest["versions"]["embedpipe"],
        n_classes=len(manifest["classes"]),
        classes=", ".join(manifest["classes"]),
        base_sha256=manifest["base_weights_sha256"][:12],
        licence="none, from scratch" if recipe["weights"] == "none" else manifest["base_licence"],
        unfreeze=recipe["unfreeze"],
        epochs=len(manifest["epochs"]),
        best=manifest["best_epoch"],
        interrupted=" (stopped before its end)" if manifest["interrupted"] else "",
        trained=len(manifest["documents"]["trained"]),
        validated=len(manifest["documents"]["validated"]),
        pages=recipe["pages"],
        resize=manifest["picture"]["resize"],
        size=manifest["picture"]["size"],
        mean=_triple(preprocessing["mean"]),
        std=_triple(preprocessing["std"]),
        interpolation=preprocessing["interpolation"],
        fit=manifest["fit"],
        settings="\n".join(f"- {name}: {value}" for name, value in recipe.items()),
        **shown,
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _triple(values: Any) -> str:
    return " ".join(f"{value:.3f}" for value in values)
