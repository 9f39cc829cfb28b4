"""Files to features: what was found, rendered and run through the network, in one stream.

Input: paths and a backbone. Output: features with the ids of their pages, and a report whose counts add up.
Batching, and how rendering and the network overlap, are changed here without looking elsewhere.

Other rooms use `arrivals`, `cue_table`, `intake`, `kind_table`, `notices`, `page_pictures`, `reading`, `recognition`,
`regions`, `sharding`, `streaming`, `warm`.
"""
