"""Lists of labels as people have them, read line by line; and earlier versions of the one that is kept.

Input: a CSV or a workbook in whatever form. Output: what each of its lines says of which document, and every line that
says nothing with the reason. `columns` finds the header, `places` the documents, `lines` reads the cells. `history`
keeps the versions of labels.csv.
"""
