"""Networks up to their features: the table of backbones, weights, and the engines that run them.

Input: a name, weights and a recipe. Output: a running network that turns batches of pages into features, and the
identity of the space of these features. A backbone is one entry in `registry.BACKBONES`, a set of layers one in
`layers.LAYERS`. Device, engine and precision are settled in `runtime` alone. Several networks as one are `lists`;
those that come as ONNX files are in `onnx`.

Other rooms use `building`, `catalogue`, `engines`, `layers`, `loading`, `model_cache`, `names`, `onnx.orientation`,
`registry`, `runtime`, `state_dicts`.
"""
