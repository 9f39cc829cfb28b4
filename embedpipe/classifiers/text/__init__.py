"""Words of pages as a classifier takes them: scaled rows, types by words, and how alike two texts are.

Input: counts of hashed n-grams. Output: estimators in the manner of scikit-learn. Nothing here knows of pictures.
"""
