"""The fast step: packed branches, lean layers and kernels that agree with the plain ones to rounding."""
