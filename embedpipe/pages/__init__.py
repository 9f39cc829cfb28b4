"""Files to page images, in worker processes that may be killed.

Input: paths and limits. Output: documents known by their content, and pages as arrays, or a failure with its kind. A
new input format is one entry in `documents.READERS`. Nothing here knows of networks or of the store.

Other rooms use `augmentation`, `containers.opening`, `containers.places`, `contract`, `converting.conversions`,
`converting.kept`, `converting.table`, `cues`, `documents`, `extraction`, `extras.ocr`, `extras.thumbnails`,
`extras.word_rows`, `extras.words`, `facts`, `leftovers`, `rendering`, `source_kinds`, `unfolding`, `walking`.
"""
