"""Stores of several machines made one: parts are linked and listed, never written again, and each page counts once.

Input: artifacts that were made apart, and the one that takes them in. Output: what was taken, what was there twice, and
sums that add up. A page is known by 128 bits of its document's SHA-256 and by its index.
"""
