"""From encoded branches to losses: hidden states (`forward`), values at labels (`head`), `terms`.

`terms` holds the equations as functions of tensors and may be read alone. The order of operations decides
the last bits of every result.
"""
