"""Reports of benchmarks: tables and fits, from recorded measurements."""
