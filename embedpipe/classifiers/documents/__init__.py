"""Whole documents as a classifier takes them: rows of all their pages, and types by these.

Input: features, words and kinds of source of pages. Output: a row for each document, and an estimator on such rows in
the manner of scikit-learn. `rows` loads no scikit-learn, for answering does without it.
"""
