"""Saved classifiers, as far as answering goes: without scikit-learn, whose loading takes longer than answering.

Input: the folder of a version of a classifier. Output: the same answers as those of `bundles.ClassifierBundle`. An
estimator that is not known here is loaded whole by that; another one is added in `answering`.
"""
