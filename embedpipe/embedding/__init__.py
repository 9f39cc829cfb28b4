"""Files to features: what was found, rendered and run through the network, in one stream.

In come paths and a backbone; out come features with the ids of their pages, and a report in which counts add up.
Batching, and how rendering and the network overlap, are changed here without looking elsewhere.

Other rooms use `cue_table`, `intake`, `kind_table`, `reading`, `regions`, `streaming`.
"""
