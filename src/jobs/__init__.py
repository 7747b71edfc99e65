"""The content jobs that ship: one module a family; `shipped` registers them all."""
