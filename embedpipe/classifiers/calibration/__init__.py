"""Scores to promises: what may be said of a page or document, and how far that holds.

In come raw scores, distances and kinds of sources of held-out rows; out come probabilities that are right as often as
they say (`probabilities`), candidates, statuses and thresholds (`decisions`), the distance to the labelled pages
(`novelty`), and whether a batch is like what was measured (`shift`). `confidence` measures how far all that holds.
"""
