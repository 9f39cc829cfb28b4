"""What a user can ask for: one file for each command, named as the command is.

Input: a workspace, inputs and plain settings. Output: records and plain values that a command line, a page or a
program can show. A task joins the other rooms and prints nothing. A new command's work is a new file here; how one
task goes about it can be changed in its file alone.

Other rooms use `add_type`, `bench`, `bench_at_scale`, `changes`, `check_labels`, `classifiers`, `classify`, `compare`,
`compare_transfer`, `confusion`, `decide`, `dedupe`, `dedupe_move`, `dedupe_plan`, `demo`, `doctor`, `embed`,
`embed_explain`, `embed_forecast`, `embed_plan`, `evaluate`, `explain`, `explain_stage`, `export`, `families`,
`forget`, `heap`, `info`, `info_verify`, `label`, `label_batches`, `label_cluster`, `label_template`, `map`, `merge`,
`queue`, `report`, `review`, `similar`, `similar_several`, `sort_into`, `spaces`, `split`, `suggest`, `watch`.
"""
