"""The generated world: its words, families of problems, teachers with known mistakes, their questions.

A family is one entry of `families`, a teacher one of `teachers`. Settings of the world are in `settings`;
what is drawn depends on seeds and settings alone.
"""
