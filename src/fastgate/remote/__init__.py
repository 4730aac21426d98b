"""What a controller tells the data planes of its Gateways, and what they answer."""
