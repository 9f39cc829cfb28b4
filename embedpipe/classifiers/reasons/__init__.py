"""Why an answer came about: the labelled pages that look most like a page, and the part of it that a score rests on.

Input: labelled pages, or a way to score pictures. Output: examples and boxes. No classifier depends on them.
"""
