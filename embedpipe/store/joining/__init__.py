"""Stores of several machines made one: parts are linked and listed, never written again, and each page counts once.

Input: artifacts that were made apart, and the one that takes them in. Output: what was taken, what was there twice, and
sums that add up. A page is known by 128 bits, made of the SHA-256 of its document and of its index.
"""
