"""Task definitions of the evaluation harness, as data; see the YAML files."""
