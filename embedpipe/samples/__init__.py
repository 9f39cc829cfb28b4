"""Draws the documents of the demo and the tests: letters, invoices, forms, papers and others.

Input: a type and a seed. Output: pages as pictures and files. A layout is one function here, and nothing else depends
on how it looks.

Other rooms use nothing of it.
"""

from embedpipe.samples.drawing import LAYOUTS, SAMPLE_TYPES, draw_samples
from embedpipe.samples.pen import Pen
from embedpipe.samples.words import Author

__all__ = ["LAYOUTS", "SAMPLE_TYPES", "Author", "Pen", "draw_samples"]
