"""Whether two pictures show the same page, though one was scanned, turned or saved again.

Every page is drawn once and reduced to a sketch (`sketches`); sketches that fit over each other name the likely pairs;
these are compared block by block at full size (`agreement`); `verification` runs the three steps over many pages.
Input: page ids and where their documents are. Output: pairs with their agreement.
"""
