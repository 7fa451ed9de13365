"""Other people's pickles, read behind bars: a restricted unpickler in a bounded subprocess.

`reader.read_pickle` is the door. In the child, `unpickler` lets through a fixed list of names, all
of them `stubs` of ours, `plain` turns those into plain data, and `frames` carries it back.
"""

from multibodies.pickles.reader import read_pickle

__all__ = ["read_pickle"]
