"""The readers of each kind of file: how it is opened, mended and drawn.

Input: a path and what is asked of it. Output: pages as `contract.Rendering`. `documents` alone decides which reader a
file gets; everything here may meet damaged and hostile files, and runs in workers that can be killed.
"""
