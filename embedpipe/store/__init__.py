"""What is kept on disk: features, labels, sources, and where each of them is.

Input: features with page ids, labels and sources. Output: the same, checked. A kill leaves the old file or the new
one. The format of what is kept is changed here alone; a change must still read what is there.

Other rooms use `catalogue`, `columns`, `failure_table`, `feature_tables`, `feature_writer`, `features`,
`joining.joined_labels`, `joining.linking`, `joining.page_tables`, `joining.small_tables`, `joining.stores`,
`label_lists.columns`, `label_lists.history`, `label_lists.lines`, `labels`, `moments`, `page_extras`, `page_table`,
`parts`, `placing`, `scaling`, `sorted_ledger`, `sources`, `workspace`.
"""
