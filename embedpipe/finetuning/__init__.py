"""A network trained on labelled pages: what is trained, the loop, its checkpoints, curves and model card.

Input: a workspace with labels and a recipe. Output: a backbone that is used by the name `finetuned:NAME`. Rates,
stopping, augmentation strength and what is unfrozen are changed here without looking elsewhere.

Other rooms use `finetune`, `training_loop`.
"""
