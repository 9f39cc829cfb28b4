"""Pictures, charts and HTML.

Input: plain values and pages as pictures. Output: PNG files, figures and HTML files that work offline. A chart, a
template or the look of a report is changed here without looking elsewhere; what a figure means is decided elsewhere.

Other rooms use `galleries`, `heatmaps`, `pictures`, `projector`, `reports`, `scatterplots`, `tiles`, `tradeoffs`.
"""
