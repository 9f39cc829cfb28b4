"""Documents that no library opens: a program that is found on the machine makes a PDF of each.

Input: a document and limits. Output: the path of its PDF, which is kept in the user's cache folder, and what made it;
or why there is none. The program runs in a folder of its own, without network, under a timer and a cap of memory, and
is ended with all that it started. Which program makes a PDF of what is one entry of `table.CONVERTERS`, or of a
`readers.toml`.
"""
