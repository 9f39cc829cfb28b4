"""Figures that are drawn for people: learning curves of types, and how well novelty tells what was never labelled.

Input: labelled pages and a recipe. Output: plain values for a report. No classifier depends on them.
"""
