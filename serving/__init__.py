"""The service: assesses an order over HTTP, and records each assessment before it answers."""
