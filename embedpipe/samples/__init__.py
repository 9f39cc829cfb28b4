"""Draw the sample documents of the demo and the tests, by program, with the fonts that PyMuPDF carries.

An `Author` invents the words, a `Pen` puts them on pages, and each entry of `LAYOUTS` is a function that lays one kind
of document out. Every document has its own random generator, seeded by its type and number, so that adding a type or
asking for more documents changes none of the others.

    words.py      word lists and sentence patterns in both languages; Author
    pen.py        fonts, colours, page sizes; Pen: text, columns, tables
    figures.py    charts, photographs, seals, signatures, codes, equations
    papers.py, books.py, resumes.py, invoices.py, slides.py, letters.py, forms.py
                  the layouts of one type each
    scanning.py   what a scanner makes of a page
    drawing.py    the table of layouts; draw_samples

To add a layout, write a function from an Author to a Pen and put it in `drawing.LAYOUTS`.
"""

from embedpipe.samples.drawing import LAYOUTS, SAMPLE_TYPES, draw_samples
from embedpipe.samples.pen import Pen
from embedpipe.samples.words import Author

__all__ = ["LAYOUTS", "SAMPLE_TYPES", "Author", "Pen", "draw_samples"]
