"""The lab's students: their tokenizer, how they are pretrained, and the weights that this package ships.

`weights_N/`, of the student of version N of the world, was made by `pretraining` and is never edited by hand;
`lab build` makes it anew.
"""

from __future__ import annotations

from collections.abc import Mapping

LAB_STUDENTS: Mapping[str, int] = {"lab-student": 2, "lab-student@1": 1}
"""The students by name, and the version of the world that each was pretrained on."""
