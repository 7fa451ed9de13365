"""Other people's pickles, read behind bars: a restricted unpickler in a bounded subprocess.

`reader.read_pickle` is the door. In the child (`multibodies.apart`), `unpickler` lets through a
fixed list of names, all of them `stubs` of ours, and `plain` turns those into plain data.
"""

from multibodies.pickles.reader import read_pickle

__all__ = ["read_pickle"]
