"""The lab's student: its tokenizer, how it is pretrained, and the weights that this package ships."""
