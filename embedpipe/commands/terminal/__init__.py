"""The terminal: options that commands share, where outputs go, groups of the help, and how answers are printed.

Input: what people type. Output: checked settings, paths that may be written, text or JSON. No command is known here.
"""
