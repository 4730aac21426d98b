"""fastgate."""
