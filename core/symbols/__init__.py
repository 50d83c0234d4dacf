"""What masks and biases are made of: frozen nodes, and the parts and pairs that they are evaluated on."""
