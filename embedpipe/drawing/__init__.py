"""Pictures, charts, HTML and workbooks.

Input: plain values and pages as pictures. Output: PNG files, figures, HTML that works offline, and Excel workbooks. A
chart, a template or the look of a report is changed here without looking elsewhere; what a figure means is decided
elsewhere.

Other rooms use `galleries`, `heatmaps`, `papers`, `pictures`, `printed`, `projector`, `reports`, `reviews`,
`scatterplots`, `tiles`, `tradeoffs`, `workbook`.
"""
