"""The maths: tensors and plain numbers in and out; no Ray, MLflow, tables or configuration."""
