"""Workers' output: the collector writes it, the reader merges it. Empty, so that the collector stays small."""
