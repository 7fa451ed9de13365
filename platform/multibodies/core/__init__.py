"""The maths: tensors and plain numbers in and out; knows no Ray, MLflow, tables or configuration."""
