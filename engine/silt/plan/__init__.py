"""Pure planning: resolved manifest + what was seen -> what would be done, and what evidence allows."""
