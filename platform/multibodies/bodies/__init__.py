"""Body models by name or file: the embedded one, and those a user imported from licensed files.

`naming` says where a name lies, `loading` opens it, `importing` makes an .npz of a user's SMPL
(`models` reads it, `foreign` knows what is no SMPL, `regressors` reads SPIN's, `store` writes),
`verifying` and `listing` look at what is there.
"""
