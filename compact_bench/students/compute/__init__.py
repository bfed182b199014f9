"""The fast step: packed branches, lean layers and kernels that agree with the plain ones to rounding.

`packing_plan` decides what is packed, `packing` builds it, `lean_layers` and `kernels` replace modules
during a step. The order of operations decides the last bits of every result: measure before and after.
"""
