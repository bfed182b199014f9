"""What people write: values on the command line, names, TOML files; and how it is shown again."""
