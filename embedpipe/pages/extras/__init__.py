"""What is kept of a page besides its features, made in the same pass: a small picture, and which words are on it.

Input: a drawn page and its document. Output: bytes and hashed n-grams that cross to the main process with the pixels.
Neither knows of the store. A page that can be drawn is never lost for them.
"""
