from .counter_based import betas as betas
from .counter_based import bits as bits
from .counter_based import normals as normals
from .counter_based import uniforms as uniforms
from .keys import generator as generator
from .keys import key as key
from .keys import seeded as seeded
