"""What every other package stands on: errors, settings, answers, records, paths, files, progress, hardware.

Plain data and small helpers that know nothing of students, suites or tables. `errors`, `records` and
`settings` are everybody's vocabulary; `answers` enters the identity of cached evaluations.
"""
