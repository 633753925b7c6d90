"""Pictures of finished runs: `series` has what is drawn, `figures` draws it, `embeddings` is the map of items."""
