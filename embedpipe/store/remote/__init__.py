"""Artifacts in object storage: a copy on this machine that every other module works on, and what keeps the two alike.

Objects are written one by one and whole, so that the order in which they go decides what others see: what a manifest
lists goes before the manifest, as on a disk.
"""
