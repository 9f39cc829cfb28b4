"""The arithmetic of scores, rows and distances, on arrays: what answering needs, and fitting as well.

Input and output: arrays. Nothing here loads scikit-learn, or knows of files; what only fitting needs of scipy is loaded
by the functions that need it.
"""
