"""Everything that runs Postfix's programs or reads its files."""
