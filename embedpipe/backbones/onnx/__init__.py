"""Networks that come as ONNX files: trained on documents, read from packages of which nothing else is needed.

Input: a file, and what is known of it. Output: one OpenVINO model from uint8 pages to features, or which way up pages
are. A network of this kind is one entry in `networks.NETWORKS`. Only `graphs` loads torch, for the sets of layers.
"""
