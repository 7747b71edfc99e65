"""Pure work on pictures: captions, defensive decoding, encoding."""
