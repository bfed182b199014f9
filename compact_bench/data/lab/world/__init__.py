"""The generated world: its words, families of problems, teachers with known mistakes, and their questions."""
