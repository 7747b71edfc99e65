"""What users test their own jobs with: a context with fakes for provider and clock, and a provider simulator."""
