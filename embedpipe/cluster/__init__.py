"""The same `embed` on many processes or machines: shards are handed out, watched, done again where lost, and merged.

In come inputs, a network and settings; out comes one artifacts folder, as if one machine had made it. A shard's worker
does one whole `embed` with its own render processes, limits and network, into a store of its own: only paths go in, and
counts and names of parts come out. What starts workers and hears of them is an `Executor` of `protocol`; another engine
is another one. What becomes of lost shards is decided in `job` alone.

Other rooms use `job`, `protocol`, `ray_actors`.
"""
