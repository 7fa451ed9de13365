"""Files of other people's, read by a library in a bounded child: a hostile one may hang, crash or
swell the child, not us.

`reader.Apart` is the parent's side. In the child, `child.main` calls a module's `read` for each
request, and `frames` carries plain data and arrays back.
"""
