"""Plans carried out on processes of this machine, beside what they were priced at."""
