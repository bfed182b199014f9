"""From encoded branches to losses: hidden states (`forward`), values at labels (`head`), `terms`."""
