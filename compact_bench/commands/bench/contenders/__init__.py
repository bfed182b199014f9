"""What a benchmark compares: contenders, each step written plainly or fast, run in turn.

`reference_step` is written from the equations alone and shares no code with what it is compared to.
"""
