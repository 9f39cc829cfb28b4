"""Features and labels to decisions: estimators, folds, calibration, novelty, and held-out figures.

Input: the store and the labels. Output: fitted classifiers, answers with candidates, and held-out figures. A new
classifier is one entry in `bundles.CLASSIFIERS`. Scores, folds, calibration and statuses are each decided in one module
of this room and nowhere else. Nothing here loads torch or renders a page.

Other rooms use `boundaries`, `bundles`, `calibration.confidence`, `calibration.decisions`, `calibration.expected`,
`calibration.probabilities`, `calibration.shift`, `documents.rows`, `evaluation`, `figures.learning_curves`,
`figures.novelty_figures`, `finetuned`, `folds`, `gains`, `group_guesses`, `groups`, `labelled_pages`, `lessons.drawn`,
`lessons.held_out`, `lessons.missing`, `lessons.reading`, `lessons.recipes`, `lessons.variants`, `metrics`, `parts`,
`reasons.evidence`, `reasons.occlusion`, `rehearsals`, `saved.answering`, `saved.on_disk`, `scores.pooling`,
`stored_answers`, `training`, `unknowns`.
"""
