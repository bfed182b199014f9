"""compact_bench: a reproducible benchmark suite for multi-teacher chain-of-thought distillation.

Everything that a method, a probe or a script of your own needs is a name of this module, loaded when it is
first used: `from compact_bench import Question, Strict, train`. `__init__.pyi` lists the names with the
modules that define them; what a name does is said there.
"""

import os

import lazy_loader

# Telemetry of the libraries underneath is off unless the user has chosen otherwise.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

__version__ = "0.1.0"

# torch and transformers take seconds to import; `--help` must not pay for them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
