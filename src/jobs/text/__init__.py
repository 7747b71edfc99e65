"""Pure work on novels: decode, find chapters, cut to a token budget."""
