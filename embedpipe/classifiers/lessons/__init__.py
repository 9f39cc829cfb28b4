"""What is learnt from besides stored features: variants of labelled pages; and which labels have nothing to learn from.

Input: labelled pages and the store. Output: rows to learn from, and counts of labels without features by reason.
"""
