"""Per-image records -> statistics, tables, figures and one self-contained page."""
