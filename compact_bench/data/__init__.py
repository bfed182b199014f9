"""Questions: the files they come from, what is checked of them, the generated lab, the suites.

`files` reads, `validation` refuses, `lab` generates, `suites` puts together what a run is given. A suite
of your own is a TOML file.
"""
