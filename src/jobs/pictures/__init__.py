"""Pure work on pictures. `pipeline.finish` leads from untrusted bytes and a recipe to the files to store."""
