"""English sentences as people of another language read them, and which language that is.

Messages are raised and printed in English everywhere; the edges, which are the terminal and HTML, pass them through
`translation`. `zh/` holds the sentences: a line of English with `{}` for what varies, below it, indented, the Chinese
line, where `{1}` is the first hole. A sentence that is not there is shown in English. JSON and CSV stay as they are.
"""
