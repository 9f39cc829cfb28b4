"""What every room uses: errors, records that rooms exchange, files written atomically, text shown safely.

Nothing here imports from another room, loads a heavy library, or knows what a document type is. A change here is felt
everywhere: keep it small.

Other rooms use `cache_folder`, `claims`, `display`, `encodings`, `errors`, `faiss_library`, `files`,
`languages.choice`, `languages.table`, `languages.translation`, `locks`, `machine`, `moved`, `objects.places`,
`objects.reading`, `objects.service`, `objects.urls`, `other_formats`, `outputs`, `process`, `records`, `sheets`,
`tables`, `threads`, `versions`.
"""
