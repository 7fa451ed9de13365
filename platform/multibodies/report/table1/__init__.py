"""The report of a sweep with rows, which has the shape of the paper's Table 1.

Shapes: B image, S seed, N output count, D = 2 metrics (MPJPE, RE; mm). A line of the table is a row
of the sweep file, or one of its flow weights where it was scored at several.
"""
