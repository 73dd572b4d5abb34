"""The paper's printed values and claims, as YAML data files."""
