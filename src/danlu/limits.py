"""Limits on files that may come from strangers: a small file must not take all memory or time.

Each limit is far above the sizes of ordinary files. ``docs/security.md`` lists them, which a test compares. Memory
in proportion to the size of a file is not limited here, except for files that are read as a whole.
"""

from __future__ import annotations

JSON_BYTES = 1 << 24
"""size of a JSON file: a description of 100,000 columns has 6 MB; Python needs up to 30 times the size to read it"""
TOKENIZER_BYTES = 1 << 25
"""size of tokenizer.json: one of 250,000 subwords has 17 MB"""
JSON_DEPTH = 32
"""nesting of a JSON file: a model inside a model inside a model has 10 levels"""
RECIPE_BYTES = 1 << 20
"""size of a recipe file: a recipe has a few thousand bytes"""
RECIPE_DEPTH = 20
"""nesting of a recipe file: recipes have 4 levels"""
RECIPE_VALUES = 10_000
"""values of a recipe file, including the items of lists: recipes have 100; reading takes 0.1 ms for each"""
NUMBER_CHARACTERS = 40
"""characters of a number in a recipe or an integer in JSON: longer ones do not fit into 64 bits, and a double has 24"""
NAME_CHARACTERS = 1_000
"""characters of the name of a column or a class: names are part of messages, reports and model.json"""
PROBLEMS = 200
"""errors of one recipe that are listed, more than a recipe has settings; the number of the others is given"""
HINT_NAMES = 2_000
"""names among which a similar one is searched: the search takes 10 µs for each"""
HINT_CHARACTERS = 100
"""length of a name for which a similar one is searched: the time is quadratic in the length"""
COLUMNS = 1_000_000
"""columns of a table"""
CLASSES = 1_000_000
"""classes of a model"""
EXAMPLE_VALUES = 100_000_000
"""numbers in one example of a model, as many as pixels of an image file"""
IMAGE_SIDE = 1_000_000
"""pixels of a side of an image file: each row needs additional memory"""
JPEG_SCANS = 100
"""scans of a progressive JPEG file, as in libtiff: most have 10; each takes 0.06 s for 100 million pixels"""
LAYERS = 10_000
"""layers of a model, if one argument gives their number"""
MODEL_PARTS = 20_000
"""modules, parameters and buffers of a model: a ResNet of 1,000 layers has 10,000; each takes about 0.3 ms to create"""
HEADER_BYTES = 1 << 24
"""header of a safetensors file: 100,000 tensors have 10 MB"""
PICKLE_STRING = 4_096
"""characters of a string in a file of torch.save: names of tensors have up to 200; errors take quadratic time"""
SHARED_TENSORS = 4
"""bytes of all tensors of a file of torch.save, as a multiple of its size: tied weights count twice"""
