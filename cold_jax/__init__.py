"""Cold-start recommendation by transfer from pre-trained language models.

The legend of shapes. An array's name ends in its axes, so `score_UI` is users × items:

    U  users                      I  items                     N  interactions, or rows of a table
    T  texts                      R  rows of packed texts      L  token places in a row, or in a text
    S  texts that a row holds     D  width of the encoder      M  width of its MLP
    H  heads                      C  width of a head           F  features of an entity
    V  width of the towers        B  examples in a batch       J  items that a step scores
    A  rank of an adapter         Y  layers of an encoder      K  places of a ranking, or in a history

Flax's own parameter names (kernel, bias, scale, embedding) stay as they are.
"""

from pathlib import Path

__version__ = "0.1.0"

_here = Path(__file__).resolve().parent
CONF = str(next(p for p in (_here / "conf", _here.parent / "conf") if p.is_dir()))
