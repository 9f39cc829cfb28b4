"""Features and labels to decisions: estimators, folds, calibration, novelty, and how good all that is.

In come the store and the labels; out come fitted classifiers, answers with candidates, and held-out figures. A new
classifier is one entry in `bundles.CLASSIFIERS`. Scores, folds, calibration and statuses are each decided in one module
of this room and nowhere else. Nothing here loads torch or renders a page.

Other rooms use `boundaries`, `bundles`, `calibration.confidence`, `calibration.decisions`,
`calibration.probabilities`, `calibration.shift`, `evaluation`, `evidence`, `finetuned`, `group_guesses`, `groups`,
`held_out`, `missing`, `occlusion`, `stored_answers`, `training`, `variants`.
"""
