"""Files in object storage, by URL: looked up, listed, read in ranges and written as files on the disk are.

Nothing outside this room knows a library of object storage. What goes wrong is an OSError that says what to do.
"""
