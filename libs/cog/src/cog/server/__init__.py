"""Names that models imported from Cog's server package; no server is here."""
