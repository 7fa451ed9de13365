"""Make the embedded body again: ``python -m multibodies.data.build_body OUT.npz`` (extra `build`).

Stages, in order: `sampling` draws adult bodies from Anny; `tpose` straightens them; `skeleton`
finds SMPL's 24 joints and gives each bone's weights to them; `decimation` thins the template to
6890 vertices, mirror-symmetrically; `ordering` puts SMPL's named vertices at their ids; `shape`
fits the shape space; `regressors` the joint regressors; `correctives` the pose correctives.
`symmetrise` makes shapes and correctives equal to their mirror images; `assemble` joins the stages.

Frame: y up, facing +z, left is +x, metres. Shapes in every module: S body sample, N template
vertex of Anny, V = 6890 vertex, F face, J = 24 joint, B bone of Anny.
"""
