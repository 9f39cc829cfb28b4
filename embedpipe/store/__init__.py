"""What lies on disk: features, labels, sources, and where each of them is.

In come features with page ids, labels and sources; out come the same, checked. Files are written so that a kill leaves
the old or the new one. The format of what is kept is changed here alone; a change must still read what is there.

Other rooms use `feature_tables`, `features`, `label_history`, `labels`, `placing`, `scaling`, `sorted_ledger`,
`sources`, `workspace`.
"""
