"""What is checked of questions before training: fields, truth, lengths, words, overlaps of splits."""
