"""What makes pictures and finds characters: protocols, and the local providers that work offline."""
