"""Scores to calibrated answers: probabilities, candidates and statuses, and how reliable they are.

Input: raw scores, distances and kinds of sources of held-out rows. Output: calibrated probabilities
(`probabilities`), candidates, statuses and thresholds (`decisions`), the distance to the labelled pages (`novelty`),
and whether a batch is like what was measured (`shift`). `confidence` measures how far all that can be relied on.
"""
