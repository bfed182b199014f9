"""Where data come from and how they are read: downloads by commit and sha256, formats of files."""
